#include "trainer/bench/stored_arm.h"

#include <algorithm>
#include <chrono>

#include "config/io.h"
#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/machine.h"
#include "trainer/run/saved_model.h"

namespace isobath {

bool names_weights(std::string const& path, std::vector<std::string> const& overrides) {
  fs::path const expanded = followed_link(expand_user(path));
  if (!fs::exists(expanded)) return false;
  if (!is_of_other_program(expanded)) return fs::is_directory(expanded);
  return std::none_of(overrides.begin(), overrides.end(), [](std::string const& text) {
    return text.starts_with("depth.") || text.starts_with("compare.") ||
           (text.starts_with("model.") && !text.starts_with("model.context="));
  });
}

StoredArm open_stored_arm(std::string const& path, std::vector<std::string> const& overrides, std::function<void(Config&)> const& place) {
  auto const start = std::chrono::steady_clock::now();
  Checkpoint stored = open_model(expand_user(path));
  Config config = model_config_with(stored, overrides);
  for (ConfigDifference const& difference : diff_configs(stored.config, config)) {
    bool const shorter = difference.path == "model.context" && config.model.context < stored.config.model.context;
    if (!shorter && (difference.path.starts_with("model.") || difference.path.starts_with("depth.")))
      throw Error(ExitCode::config, difference.path + " = " + difference.after + ": the weights at " + path + " need " + difference.before +
                                        "; model.context may be shorter");
  }
  place(config);
  set_threads(config.train.threads);
  stored.config = config;
  StoredArm arm{{stored.config.name, config},
                {stored.config.name, load_model(stored), {}, bytes_per_value(config)},
                stored.tokenizer->vocab_size(),
                0};
  place_model(*arm.decode.model, config);
  arm.load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (int64_t i = 0; i < 4 * config.model.context; ++i)
    arm.decode.text.push_back(static_cast<int32_t>(random_bits(3, static_cast<uint64_t>(i)) % static_cast<uint64_t>(arm.vocab_size)));
  return arm;
}

}  // namespace isobath
