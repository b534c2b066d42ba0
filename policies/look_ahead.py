"""Which action starts the cheapest of all short plans of the form turn, walk, turn, walk."""

from __future__ import annotations

import math
from typing import no_type_check

from numba import njit


@no_type_check
@njit(cache=True)
def _walk(price, origin, resolution, x, y, dx, dy, length):
    """Price [m] of a straight walk of `length` along the unit vector (dx, dy); inf if anything blocks it."""
    n = max(math.ceil(length / (0.5 * resolution)), 1)
    total = 0.0
    for i in range(1, n + 1):
        s = length * i / n
        col = math.floor((x + s * dx - origin[0]) / resolution)
        row = math.floor((y + s * dy - origin[1]) / resolution)
        if row < 0 or col < 0 or row >= price.shape[0] or col >= price.shape[1]:
            return math.inf
        total += price[row, col]
    return total / n * length


@no_type_check
@njit(cache=True)
def _remaining(field, origin, resolution, x, y, tolerance):
    """The field at (x, y), bilinear between cell centres where all four are finite; 0 within the tolerance."""
    u = (x - origin[0]) / resolution - 0.5
    v = (y - origin[1]) / resolution - 0.5
    c, r = math.floor(u), math.floor(v)
    value = math.inf
    if 0 <= r < field.shape[0] - 1 and 0 <= c < field.shape[1] - 1:
        a, b = u - c, v - r
        value = (field[r, c] * (1 - a) + field[r, c + 1] * a) * (1 - b)
        value += (field[r + 1, c] * (1 - a) + field[r + 1, c + 1] * a) * b
    if not math.isfinite(value):
        c, r = math.floor(u + 0.5), math.floor(v + 0.5)
        if 0 <= r < field.shape[0] and 0 <= c < field.shape[1]:
            value = field[r, c]
    if value <= tolerance:
        return 0.0
    return value


@no_type_check
@njit(cache=True)
def _misalignment(field, origin, resolution, x, y, yaw):
    """Angle [rad] between `yaw` and the direction in which the field falls fastest, looking three cells around."""
    col = math.floor((x - origin[0]) / resolution)
    row = math.floor((y - origin[1]) / resolution)
    steepest, angle = 0.0, 0.0
    for r in range(max(row - 3, 0), min(row + 4, field.shape[0])):
        for c in range(max(col - 3, 0), min(col + 4, field.shape[1])):
            length = math.hypot(r - row, c - col)
            if length >= 2.0 and field[r, c] < math.inf:
                slope = (field[row, col] - field[r, c]) / length
                if slope > steepest:
                    steepest, angle = slope, math.atan2(r - row, c - col)
    if steepest == 0.0:
        return 0.0
    return abs((angle - yaw + math.pi) % (2.0 * math.pi) - math.pi)


@no_type_check
@njit(cache=True)
def best_plan(field, price, origin, resolution, x, y, yaw, step, turn, turn_price, tolerance):
    """(turns, price): signed number of left turns before the first step of the best plan, and its price [m].

    A plan is turn, 1-4 steps, turn, 0-3 steps; then the field's price, and the turn into the field's slope. Without
    the latter a plan that puts off its turns would always look better, and the body would circle.

    Args:
        field: price-weighted distance to the goal [m], inf where blocked.
        price: price per metre of every cell, inf where blocked.
        x, y, yaw: pose [m, rad].
        step: length of a step forward [m].
        turn: angle of a turn [rad].
        turn_price: price of turning [m / rad].
        tolerance: a plan that ends this near [m] to the goal has arrived.
    """
    half = math.floor(math.pi / turn + 0.5)
    cost = turn * turn_price
    best, best_turns = math.inf, 0
    for k1 in range(-half + 1, half + 1):
        a1 = yaw + k1 * turn
        x1, y1, walked1 = x, y, abs(k1) * cost
        for _ in range(4):
            walked1 += _walk(price, origin, resolution, x1, y1, math.cos(a1), math.sin(a1), step)
            if walked1 >= best:
                break
            x1 += step * math.cos(a1)
            y1 += step * math.sin(a1)
            rest = _remaining(field, origin, resolution, x1, y1, tolerance)
            if rest > 0.0 and walked1 + rest < best:
                rest += turn_price * _misalignment(field, origin, resolution, x1, y1, a1)
            if walked1 + rest < best:
                best, best_turns = walked1 + rest, k1
            if rest == 0.0:
                break
            for k2 in range(-half + 1, half + 1):
                a2 = a1 + k2 * turn
                x2, y2, walked2 = x1, y1, walked1 + abs(k2) * cost
                for _ in range(3):
                    walked2 += _walk(price, origin, resolution, x2, y2, math.cos(a2), math.sin(a2), step)
                    if walked2 >= best:
                        break
                    x2 += step * math.cos(a2)
                    y2 += step * math.sin(a2)
                    rest = _remaining(field, origin, resolution, x2, y2, tolerance)
                    if rest > 0.0 and walked2 + rest < best:
                        rest += turn_price * _misalignment(field, origin, resolution, x2, y2, a2)
                    if walked2 + rest < best:
                        best, best_turns = walked2 + rest, k1
    return best_turns, best
