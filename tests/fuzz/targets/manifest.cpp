#include "tests/fuzz/target.h"
#include "trainer/run/checkpoint.h"

void isobath::fuzz::read(std::string_view input) {
  static fs::path const folder = file("step-00000001/model.safetensors", "weights").parent_path();
  file("step-00000001/manifest.json", input);
  for (ManifestFile const& listed : verify_checkpoint(folder)) require(fs::exists(folder / listed.name), "listed files are there");
}
