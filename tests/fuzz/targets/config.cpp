// A configuration file: what can be read must be read back the same from its own print-out.
#include "config/io.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  LoadedConfig const loaded = load_config(file("config.yaml", input), {});
  std::string const printed = to_yaml(loaded.config);
  require(to_yaml(load_config(file("printed.yaml", printed), {}).config) == printed, "a printed configuration reads back the same");
  show_config(loaded);
}
