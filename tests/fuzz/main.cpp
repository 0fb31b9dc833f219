#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "core/error.h"
#include "tests/fuzz/target.h"

namespace isobath::fuzz {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  Folder() {
    fs::path const memory = "/dev/shm";
    path = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) / ("isobath-fuzz-" + std::to_string(::getpid()));
    fs::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

fs::path file(std::string const& name, std::string_view content) {
  static Folder const folder;
  fs::path const path = folder.path / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

}  // namespace isobath::fuzz

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  try {
    isobath::fuzz::read({reinterpret_cast<char const*>(data), size});
  } catch (isobath::Error const&) {
  }
  return 0;
}
