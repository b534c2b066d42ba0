"""Where the camera was, without its poses: Open3D's reconstruction pipeline through its own API, and how far off it is.

The pipeline is the one of Open3D's `examples/python/reconstruction_system` (Choi et al., CVPR 2015): RGB-D odometry
within fragments with edges between keyframes, a pose graph a fragment, registration of the fragments by features, a
pose graph of them. Its settings are those of the example; edges between keyframes begin from where odometry has them,
in the example from ORB features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from evo.core import metrics, trajectory
from offline_surface import integrated

from embmem.observation import Observation

FRAGMENT, KEYFRAME = 100, 5  # frames of 30 a second, and of those that are used
VOXEL = 0.05  # [m] of the fragments' clouds


def errors(found: Iterable[np.ndarray], true: Iterable[np.ndarray], delta: int) -> tuple[float, float]:
    """(ATE, RPE over `delta` frames), both the rmse of the translation [m] by evo, after rigid alignment."""
    a = trajectory.PosePath3D(poses_se3=[np.asarray(T, dtype=np.float64) for T in found])
    b = trajectory.PosePath3D(poses_se3=[np.asarray(T, dtype=np.float64) for T in true])
    a.align(b)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    unit, part = metrics.Unit.frames, metrics.PoseRelation.translation_part
    rpe = metrics.RPE(part, delta=delta, delta_unit=unit, all_pairs=True)
    values = []
    for metric in (ape, rpe):
        metric.process_data((b, a))
        values.append(float(metric.get_statistic(metrics.StatisticsType.rmse)))
    return values[0], values[1]


class Pipeline:
    """Open3D's reconstruction system on observations in RAM."""

    def __init__(self, observations: Sequence[Observation], *, every: int = 1) -> None:
        import open3d as o3d

        self.o3d = o3d
        o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
        k = observations[0].intrinsics
        self.camera = o3d.camera.PinholeCameraIntrinsic(k.width, k.height, k.fx, k.fy, k.cx, k.cy)
        self.observations, self.fragment = observations, FRAGMENT // every
        self.images = [self._image(o) for o in observations]
        self.n_loops = 0

    def odometry(self) -> list[np.ndarray]:
        """The way by odometry from frame to frame alone."""
        poses = [np.eye(4)]
        for i in range(len(self.images) - 1):
            poses.append(poses[-1] @ np.linalg.inv(self._step(i, i + 1, np.eye(4))[0]))
        return poses

    def run(self) -> list[np.ndarray]:
        """The way by the whole pipeline."""
        starts = range(0, len(self.images), self.fragment)
        fragments = [self._fragment(range(s, min(s + self.fragment, len(self.images)))) for s in starts]
        places = self._register([self._cloud(s, poses) for s, poses in zip(starts, fragments, strict=True)], fragments)
        return [place @ T for place, poses in zip(places, fragments, strict=True) for T in poses]

    def _image(self, observation: Observation) -> Any:
        o3d = self.o3d
        depth = o3d.geometry.Image(np.nan_to_num(np.asarray(observation.depth)).astype(np.float32))
        color = o3d.geometry.Image(np.ascontiguousarray(observation.rgb))
        return o3d.geometry.RGBDImage.create_from_color_and_depth(
            color, depth, depth_scale=1.0, depth_trunc=3.0, convert_rgb_to_intensity=True
        )

    def _step(self, i: int, j: int, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """(T_j_i, information, whether it worked)."""
        odometry = self.o3d.pipelines.odometry
        option = odometry.OdometryOption()
        option.depth_diff_max = 0.07
        is_good, T, information = odometry.compute_rgbd_odometry(
            self.images[i], self.images[j], self.camera, guess, odometry.RGBDOdometryJacobianFromHybridTerm(), option
        )
        return np.asarray(T), np.asarray(information), bool(is_good)

    def _fragment(self, frames: range) -> list[np.ndarray]:
        """Poses in the frame of the fragment's first camera."""
        registration = self.o3d.pipelines.registration
        graph, T_camera = registration.PoseGraph(), np.eye(4)
        graph.nodes.append(registration.PoseGraphNode(np.eye(4)))
        for n, i in enumerate(frames[:-1]):
            T, information, _ = self._step(i, i + 1, np.eye(4))
            T_camera = T @ T_camera
            graph.nodes.append(registration.PoseGraphNode(np.linalg.inv(T_camera)))
            graph.edges.append(registration.PoseGraphEdge(n, n + 1, T, information, uncertain=False))
        keys = range(0, len(frames), KEYFRAME)
        for a in keys:
            for b in keys:
                if b <= a + 1:
                    continue
                guess = np.linalg.inv(np.asarray(graph.nodes[b].pose)) @ np.asarray(graph.nodes[a].pose)
                T, information, is_good = self._step(frames[a], frames[b], guess)
                if is_good:
                    graph.edges.append(registration.PoseGraphEdge(a, b, T, information, uncertain=True))
                    self.n_loops += 1
        self._optimise(graph, 0.07, 0.1)
        return [np.asarray(node.pose) for node in graph.nodes]

    def _cloud(self, start: int, poses: list[np.ndarray]) -> Any:
        placed = [replace(self.observations[start + k], T_map_camera=T) for k, T in enumerate(poses)]
        cloud = integrated(placed, 0.02, truncation=4.0, max_range=3.0).extract_point_cloud(3.0).to_legacy()
        cloud = cloud.voxel_down_sample(VOXEL)
        cloud.estimate_normals(self.o3d.geometry.KDTreeSearchParamHybrid(2 * VOXEL, 30))
        return cloud

    def _register(self, clouds: list[Any], fragments: list[list[np.ndarray]]) -> list[np.ndarray]:
        """Where the fragments lie."""
        registration = self.o3d.pipelines.registration
        graph, place = registration.PoseGraph(), np.eye(4)
        graph.nodes.append(registration.PoseGraphNode(np.eye(4)))
        for s in range(len(clouds)):
            for t in range(s + 1, len(clouds)):
                if t == s + 1:  # neighbours begin from the frame-to-frame odometry between them
                    i = (s + 1) * self.fragment - 1
                    guess = np.linalg.inv(fragments[s][-1] @ np.linalg.inv(self._step(i, i + 1, np.eye(4))[0]))
                else:
                    guess = self._by_features(clouds[s], clouds[t])
                T, information, fitness = self._icp(clouds[s], clouds[t], guess)
                if t == s + 1:
                    place = T @ place
                    graph.nodes.append(registration.PoseGraphNode(np.linalg.inv(place)))
                    graph.edges.append(registration.PoseGraphEdge(s, t, T, information, uncertain=False))
                elif fitness > 0.3:
                    graph.edges.append(registration.PoseGraphEdge(s, t, T, information, uncertain=True))
        self._optimise(graph, 1.4 * VOXEL, 5.0)
        return [np.asarray(node.pose) for node in graph.nodes]

    def _by_features(self, source: Any, target: Any) -> np.ndarray:
        registration, geometry = self.o3d.pipelines.registration, self.o3d.geometry
        self.o3d.utility.random.seed(0)
        around = geometry.KDTreeSearchParamHybrid(5 * VOXEL, 100)
        features = [registration.compute_fpfh_feature(cloud, around) for cloud in (source, target)]
        found = registration.registration_fgr_based_on_feature_matching(
            source, target, *features,
            registration.FastGlobalRegistrationOption(maximum_correspondence_distance=1.4 * VOXEL),
        )  # fmt: skip
        return np.asarray(found.transformation)

    def _icp(self, source: Any, target: Any, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        registration = self.o3d.pipelines.registration
        T, found = guess, None
        for reach, steps in ((1.4 * VOXEL, 50), (0.7 * VOXEL, 30)):
            found = registration.registration_icp(
                source, target, reach, T, registration.TransformationEstimationPointToPlane(),
                registration.ICPConvergenceCriteria(max_iteration=steps),
            )  # fmt: skip
            T = np.asarray(found.transformation)
        information = registration.get_information_matrix_from_point_clouds(source, target, 1.4 * VOXEL, T)
        return T, np.asarray(information), float(found.fitness) if found is not None else 0.0

    def _optimise(self, graph: Any, reach: float, preference: float) -> None:
        registration = self.o3d.pipelines.registration
        registration.global_optimization(
            graph,
            registration.GlobalOptimizationLevenbergMarquardt(),
            registration.GlobalOptimizationConvergenceCriteria(),
            registration.GlobalOptimizationOption(
                max_correspondence_distance=reach, edge_prune_threshold=0.25, preference_loop_closure=preference,
                reference_node=0,
            ),
        )  # fmt: skip
