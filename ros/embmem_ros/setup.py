"""The colcon package embmem_ros; the library that it runs is installed by pip."""

from pathlib import Path

from setuptools import setup

NAME = "embmem_ros"


def files(folder: str) -> tuple[str, list[str]]:
    """Where a folder is installed, and what is in it."""
    return f"share/{NAME}/{folder}", sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        files("launch"),
        files("config"),
        files("rviz"),
    ],
    install_requires=["setuptools"],  # embmem itself is no ROS package: see package.xml
    zip_safe=True,
    maintainer="The embmem developers",
    maintainer_email="embmem@example.org",
    description="Nodes of embmem, the spatial memory of robots.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "memory = embmem_ros.nodes:memory",
            "planner = embmem_ros.nodes:planner",
            "perception = embmem_ros.nodes:perception",
            "recorder = embmem_ros.nodes:recorder",
        ],
    },
)
