"""The peers of benchmarks/rendering.py: Open3D's ray caster and OpenGL on Mesa's software rasteriser."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

import numpy as np
from scipy import ndimage

from embmem.errors import MissingExtraError, import_extra
from embmem.geometry import invert_pose
from embmem.observation import Intrinsics
from embmem.sim_envs.house import Mesh
from embmem.sim_envs.render.scene import lit_colours, planes_of

Peer = Callable[[np.ndarray, Intrinsics], tuple[np.ndarray, ...]]  # (depth, semantic, instance, ...) of a pose
_NEAR, _FAR = 0.02, 100.0  # [m] OpenGL's depth range

_VERTEX = """
#version 330
uniform mat4 view;
uniform vec2 scale, shift;  // from x / z, y / z to device coordinates
uniform vec2 range;
in vec3 position;
in vec3 colour;
in ivec2 ids;
out float z;
flat out vec3 lit;
flat out ivec2 labels;
void main() {
    vec3 p = (view * vec4(position, 1.0)).xyz;
    z = p.z;
    lit = colour;
    labels = ids;
    gl_Position = vec4(p.xy * scale + p.z * shift, p.z * range.x + range.y, p.z);
}
"""
_FRAGMENT = """
#version 330
in float z;
flat in vec3 lit;
flat in ivec2 labels;
layout(location = 0) out float depth;
layout(location = 1) out ivec2 found;
layout(location = 2) out vec4 colour;
void main() {
    depth = z;
    found = labels;
    colour = vec4(lit * (1.0 - min(0.035 * z, 0.3)) / 255.0, 1.0);
}
"""


def open3d_caster(mesh: Mesh) -> Peer | None:
    """A function that gives depth, semantic, instance and triangle with Open3D; None if it is not installed."""
    try:
        o3d = import_extra("open3d", "recon")
    except MissingExtraError:
        return None
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))
    semantic, instance = np.append(mesh.semantic, 0), np.append(mesh.instance, 0)

    def cast(T: np.ndarray, k: Intrinsics) -> tuple[np.ndarray, ...]:
        v, u = np.mgrid[: k.height, : k.width].astype(np.float32)
        rays = np.empty((k.height, k.width, 6), dtype=np.float32)
        rays[..., :3] = T[:3, 3]
        camera = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1, dtype=np.float32)
        rays[..., 3:] = camera @ T[:3, :3].T.astype(np.float32)
        hits = scene.cast_rays(o3d.core.Tensor(rays))
        triangle = np.minimum(hits["primitive_ids"].numpy(), len(semantic) - 1).astype(np.int64)
        return hits["t_hit"].numpy(), semantic[triangle], instance[triangle], triangle

    return cast


def opengl(mesh: Mesh, k: Intrinsics) -> Peer | None:
    """A function that gives depth, semantic, instance and colour with moderngl on one thread; None if it can not.

    Flat shading without textures: less than ours draws. What is read back is what we return.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")  # of llvmpipe: in the caller's thread
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    try:
        gl = import_module("moderngl")
        context = gl.create_context(standalone=True, backend="egl")
    except Exception:  # not installed, or no driver: moderngl raises bare exceptions
        return None
    corners = mesh.vertices[mesh.triangles].astype(np.float32)
    record = np.dtype([("position", np.float32, 3), ("colour", np.float32, 3), ("ids", np.int32, 2)])
    vertices = np.empty((len(corners), 3), dtype=record)
    vertices["position"] = corners
    vertices["colour"] = lit_colours(mesh.colour, planes_of(corners.astype(np.float64))[:, :3])[:, None]
    vertices["ids"] = np.stack([mesh.semantic, mesh.instance], axis=1)[:, None]
    program = context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
    layout = (context.buffer(vertices.tobytes()), "3f4 3f4 2i4", "position", "colour", "ids")
    array = context.vertex_array(program, [layout])
    size = (k.width, k.height)
    images = [context.texture(size, n, dtype=kind) for n, kind in ((1, "f4"), (2, "i4"), (3, "f1"))]
    frame = context.framebuffer(images, context.depth_renderbuffer(size))
    program["scale"] = 2.0 * k.fx / k.width, 2.0 * k.fy / k.height
    program["shift"] = (2.0 * k.cx + 1.0) / k.width - 1.0, (2.0 * k.cy + 1.0) / k.height - 1.0
    program["range"] = (_FAR + _NEAR) / (_FAR - _NEAR), -2.0 * _FAR * _NEAR / (_FAR - _NEAR)
    context.enable(gl.DEPTH_TEST | gl.CULL_FACE)
    context.front_face = "cw"  # rows grow downwards in our images and upwards in OpenGL's

    def draw(T: np.ndarray, _: Intrinsics) -> tuple[np.ndarray, ...]:
        program["view"].write(np.ascontiguousarray(invert_pose(T).T, dtype=np.float32).tobytes())
        frame.use()
        frame.clear()
        array.render()
        shape = (k.height, k.width)
        depth = np.frombuffer(frame.read(components=1, attachment=0, dtype="f4"), np.float32).reshape(shape)
        found = np.frombuffer(frame.read(components=2, attachment=1, dtype="i4"), np.int32).reshape(*shape, 2)
        rgb = np.frombuffer(frame.read(components=3, attachment=2, alignment=1), np.uint8).reshape(*shape, 3)
        return depth, found[..., 0], found[..., 1], rgb

    return draw


def faces(mesh: Mesh) -> np.ndarray:
    """(t,) number of the flat face (plane, instance and label) that each triangle belongs to."""
    planes = planes_of(mesh.vertices[mesh.triangles].astype(np.float64))
    key = np.column_stack([planes.round(3) + 0.0, mesh.instance, mesh.semantic])
    return np.unique(key, axis=0, return_inverse=True)[1].ravel()


def inner_pixels(face: np.ndarray) -> np.ndarray:
    """Whether a pixel's whole neighbourhood shows one face: there the answer does not hang on a rounding."""
    return ndimage.minimum_filter(face, 3) == ndimage.maximum_filter(face, 3)
