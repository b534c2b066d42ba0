"""Goals that Nav2 drives to: rejection, abort, loss, silence and cancellation each end a goal with a clear message."""

from __future__ import annotations

import math

import pytest
from planner_world import Nav2, PlannerWorld, item, pose_goal

from embmem.ros.parameters import Value
from embmem.ros.ports import ABORTED, CANCELED, SUCCEEDED

NAV2: dict[str, Value] = {"drive": "nav2", "verify_wait": 0.2}
FEEDBACK = {"distance_remaining": 1.5}


def test_nav2_is_sent_to_a_place_before_the_thing_and_its_success_is_ours() -> None:
    world = PlannerWorld(items={"mug": [item("mug", 4.0, 3.0)]}, values=NAV2)
    nav2 = Nav2(world)
    world.go(object="mug")
    world.drive_until(lambda: bool(nav2.goals))
    pose = nav2.goals[0].request.pose
    x, y = pose.pose.position.x, pose.pose.position.y
    assert pose.header.frame_id == "map"
    assert 0.3 < math.hypot(4.0 - x, 3.0 - y) < 0.8
    yaw = 2 * math.atan2(pose.pose.orientation.z, pose.pose.orientation.w)
    assert abs(math.remainder(yaw - math.atan2(3.0 - y, 4.0 - x), 2 * math.pi)) < 1e-6
    nav2.goals[0].feedback(FEEDBACK)
    world.bus.advance(0.5)
    assert world.feedback[-1].distance_remaining == 1.5
    assert world.feedback[-1].goal.pose.position.x == x
    nav2.goals[0].succeed({})
    status, result = world.wait()
    assert (status, result.success) == (SUCCEEDED, True)
    assert not world.commands  # the wheels are Nav2's


def test_without_a_grid_it_stands_on_this_side_of_the_thing() -> None:
    world = PlannerWorld(items={"mug": [item("mug", 4.0, 2.0)]}, values=NAV2, has_grid=False)
    nav2 = Nav2(world)
    world.go(object="mug")
    world.drive_until(lambda: bool(nav2.goals))
    assert nav2.goals[0].request.pose.pose.position.x == pytest.approx(4.0 - 0.1 - 1.0)


def test_a_server_that_rejects_ends_the_goal() -> None:
    world = PlannerWorld(values=NAV2)
    Nav2(world, rejects=True)
    world.go(pose=pose_goal(4.0, 1.0))
    status, result = world.wait()
    assert (status, result.message) == (ABORTED, "Nav2 rejected the goal")
    assert world.count("aborted: nav2_rejected") == 1


def test_no_server_ends_the_goal_and_auto_drives_itself() -> None:
    world = PlannerWorld(values=NAV2 | {"server_timeout": 2.0})
    world.go(pose=pose_goal(4.0, 1.0))
    assert "is Nav2 active" in world.wait(seconds=3.0)[1].message
    alone = PlannerWorld(values={"drive": "auto", "speed": 1.0, "acceleration": 2.0})
    alone.go(pose=pose_goal(2.0, 2.0))
    assert alone.wait()[1].success
    assert alone.commands


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"error_code": 9002, "error_msg": "the map is gone"}, "the map is gone"),
        ({"error_code": 204}, "error 204"),
        ({}, "does not say why"),
    ],
)
def test_an_abort_of_nav2_ends_the_goal_with_its_reason(result: dict[str, object], said: str) -> None:
    world = PlannerWorld(values=NAV2)
    nav2 = Nav2(world)
    world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    nav2.goals[0].abort(result)
    status, ended = world.wait()
    assert status == ABORTED
    assert said in ended.message
    assert world.count("aborted: nav2_aborted") == 1


def test_a_cancellation_by_somebody_else_ends_the_goal() -> None:
    world = PlannerWorld(values=NAV2)
    nav2 = Nav2(world)
    world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    nav2.goals[0].canceled({})
    status, result = world.wait()
    assert status == ABORTED
    assert "somebody else" in result.message


def test_our_cancellation_reaches_nav2_and_waits_for_it() -> None:
    world = PlannerWorld(values=NAV2)
    nav2 = Nav2(world)
    handle = world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    handle.cancel(lambda taken: None)
    world.bus.advance(1.0)
    assert len(nav2.canceled) == 1
    assert not world.results  # the robot may still be rolling
    nav2.goals[0].canceled({})
    assert world.wait()[0] == CANCELED


def test_a_nav2_that_does_not_stop_is_told_of() -> None:
    world = PlannerWorld(values=NAV2 | {"cancel_timeout": 2.0})
    nav2 = Nav2(world)
    nav2.takes_cancel = False
    handle = world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    handle.cancel(lambda taken: None)
    status, result = world.wait(seconds=3.0)
    assert status == CANCELED
    assert "did not say" in result.message


def test_a_goal_canceled_while_it_is_on_its_way_is_not_driven() -> None:
    world = PlannerWorld(values=NAV2 | {"server_timeout": 60.0})
    handle = world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: any(f.phase == "driving" for f in world.feedback))
    handle.cancel(lambda taken: None)
    assert world.wait()[0] == CANCELED
    nav2 = Nav2(world)
    world.bus.advance(2.0)
    assert not nav2.goals


def test_a_server_that_dies_ends_the_goal() -> None:
    world = PlannerWorld(values=NAV2)
    nav2 = Nav2(world)
    world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    nav2.server.close()
    status, result = world.wait(seconds=4.0)
    assert status == ABORTED
    assert "went away" in result.message
    assert world.count("aborted: nav2_lost") == 1


def test_a_server_that_falls_silent_ends_the_goal_and_must_not_drive_on() -> None:
    world = PlannerWorld(values=NAV2 | {"feedback_timeout": 2.0})
    nav2 = Nav2(world)
    world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: bool(nav2.goals))
    nav2.goals[0].feedback(FEEDBACK)
    assert "no feedback" in world.wait(seconds=4.0)[1].message
    assert len(nav2.canceled) == 1


def test_deactivation_and_time_outs_cancel_what_nav2_does() -> None:
    world = PlannerWorld(values=NAV2)
    nav2 = Nav2(world)
    world.go(pose=pose_goal(4.0, 1.0), timeout={"sec": 2})
    assert "2 s" in world.wait(seconds=4.0)[1].message
    world.bus.spin()
    assert len(nav2.canceled) == 1
    world.go(pose=pose_goal(4.0, 1.0))
    world.drive_until(lambda: len(nav2.goals) == 2)
    world.node.deactivate()
    world.bus.spin()
    assert len(nav2.canceled) == 2
    assert world.results[1][0] == ABORTED
