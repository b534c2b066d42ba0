// Times OctoMap's own library on the inputs of benchmarks/voxels.py. The last line of the output is one JSON object;
// times are seconds of CPU.
//
//   driver insert FRAMES RESOLUTION MAX_RANGE DISCRETIZE OUT.ot    insert every frame, then write the tree
//   driver search MAP.ot POINTS OUT       state of the voxel at each point: -1 unknown, 0 free, 1 occupied
//   driver cast MAP.ot RAYS MAX_RANGE OUT  centre of the first occupied voxel of each ray, NaN if there is none
//   driver files MAP.ot OUT               read and write MAP.ot, write and read OUT.bt
//
// FRAMES: int32 number of frames; of each float32 origin[3], int32 n, float32 points[n][3], all in the map's frame.
// POINTS: float32 [n][3]; RAYS: float32 [n][6], origin and direction.
#include <malloc.h>
#include <octomap/octomap.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

using octomap::OcTree;
using octomap::point3d;

static double cpu() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

template <class T> static std::vector<T> read_all(const char *path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  const T *first = reinterpret_cast<const T *>(bytes.data());
  return std::vector<T>(first, first + bytes.size() / sizeof(T));
}

template <class T> static void write_all(const char *path, const std::vector<T> &values) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

static std::unique_ptr<OcTree> read_tree(const char *path) {
  return std::unique_ptr<OcTree>(dynamic_cast<OcTree *>(octomap::AbstractOcTree::read(path)));
}

static int insert(char **args) {
  std::ifstream in(args[0], std::ios::binary);
  OcTree tree(std::stod(args[1]));
  const double max_range = std::stod(args[2]);
  const bool discretize = std::stoi(args[3]);
  const size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
  int n_frames = 0, n = 0;
  in.read(reinterpret_cast<char *>(&n_frames), 4);
  std::cout << "{\"seconds\": [";
  for (int i = 0; i < n_frames; ++i) {
    float origin[3];
    in.read(reinterpret_cast<char *>(origin), 12).read(reinterpret_cast<char *>(&n), 4);
    std::vector<float> points(3 * n);
    in.read(reinterpret_cast<char *>(points.data()), 12L * n);
    octomap::Pointcloud cloud;
    cloud.reserve(n);
    for (int k = 0; k < n; ++k) cloud.push_back(points[3 * k], points[3 * k + 1], points[3 * k + 2]);
    const double begin = cpu();
    tree.insertPointCloud(cloud, point3d(origin[0], origin[1], origin[2]), max_range, false, discretize);
    std::cout << (i ? ", " : "") << cpu() - begin;
  }
  std::cout << "], \"bytes\": " << mallinfo2().uordblks + mallinfo2().hblkhd - heap << "}" << std::endl;
  return tree.write(args[4]) ? 0 : 1;
}

static int search(char **args) {
  const auto tree = read_tree(args[0]);
  const auto points = read_all<float>(args[1]);
  std::vector<signed char> states(points.size() / 3);
  const double begin = cpu();
  for (size_t i = 0; i < states.size(); ++i) {
    const auto *node = tree->search(point3d(points[3 * i], points[3 * i + 1], points[3 * i + 2]));
    states[i] = node ? tree->isNodeOccupied(node) : -1;
  }
  std::cout << "{\"seconds\": " << cpu() - begin << "}" << std::endl;
  write_all(args[2], states);
  return 0;
}

static int cast(char **args) {
  const auto tree = read_tree(args[0]);
  const auto rays = read_all<float>(args[1]);
  const double max_range = std::stod(args[2]);
  std::vector<point3d> ends(rays.size() / 6, point3d(NAN, NAN, NAN));
  point3d end;
  const double begin = cpu();
  for (size_t i = 0; i < ends.size(); ++i) {
    const float *r = &rays[6 * i];
    if (tree->castRay(point3d(r[0], r[1], r[2]), point3d(r[3], r[4], r[5]), end, true, max_range)) ends[i] = end;
  }
  std::cout << "{\"seconds\": " << cpu() - begin << "}" << std::endl;
  std::vector<float> flat;
  for (const auto &p : ends) flat.insert(flat.end(), {p.x(), p.y(), p.z()});
  write_all(args[3], flat);
  return 0;
}

static int files(char **args) {
  const std::string out = args[1];
  const size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
  double t[5] = {cpu()};
  const auto tree = read_tree(args[0]);
  t[1] = cpu();
  const size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - heap;
  tree->write(out + ".ot");
  t[2] = cpu();
  tree->writeBinary(out + ".bt");  // makes every node free or occupied, so it comes last
  t[3] = cpu();
  OcTree again(0.1);
  again.readBinary(out + ".bt");
  t[4] = cpu();
  std::cout << "{\"read_ot\": " << t[1] - t[0] << ", \"write_ot\": " << t[2] - t[1] << ", \"write_bt\": " << t[3] - t[2]
            << ", \"read_bt\": " << t[4] - t[3] << ", \"bytes\": " << bytes << "}" << std::endl;
  return 0;
}

int main(int argc, char **argv) {
  const std::string task = argc > 1 ? argv[1] : "";
  if (task == "insert" && argc == 7) return insert(argv + 2);
  if (task == "search" && argc == 5) return search(argv + 2);
  if (task == "cast" && argc == 6) return cast(argv + 2);
  if (task == "files" && argc == 4) return files(argv + 2);
  std::cerr << "usage: driver insert|search|cast|files ..., see the source\n";
  return 2;
}
