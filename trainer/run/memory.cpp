#include "trainer/run/memory.h"

#include <fmt/format.h>

#include <cctype>
#include <new>

#include "core/error.h"
#include "core/limits.h"
#include "core/units.h"

namespace isobath {

std::string describe_need(Config const& config, PlannedMemory const& need) {
  std::string const smaller =
      need.state > need.activations
          ? fmt::format("a smaller model.width ({}) or fewer model.layers ({}) take less", config.model.width, config.model.layers)
          : fmt::format("a smaller train.micro_batch_tokens (at least model.context, {}) or a smaller model.context take less",
                        config.model.context);
  return fmt::format("about {} of memory ({} weights and optimizer, {} activations of a micro-batch); {}", format_bytes(need.total()),
                     format_bytes(need.state), format_bytes(need.activations), smaller);
}

std::optional<std::string> check_memory(Config const& config, PlannedMemory const& need, int64_t processes) {
  Limit const free = free_memory(processes);
  auto const room = static_cast<double>(free.value);
  if (need.total() <= 0.8 * room) return std::nullopt;
  std::string const of_several = processes > 1 ? fmt::format(" for each of {} processes", processes) : "";
  std::string const text = fmt::format("{} are free{} ({}), and '{}' needs {}", format_bytes(room), of_several, free.rule, config.name,
                                       describe_need(config, need));
  if (need.total() > room) throw Error(ExitCode::allocation, "not enough memory: " + text);
  return "memory is scarce: " + text;
}

std::optional<std::string> refused_memory(std::exception const& problem) {
  std::string const what = problem.what();
  bool refused = dynamic_cast<std::bad_alloc const*>(&problem) != nullptr;
  for (char const* const words : {"can't allocate memory", "not enough memory", "out of memory"})
    refused = refused || what.find(words) != std::string::npos;
  if (!refused) return std::nullopt;
  std::string const asked = "tried to allocate ";  // "you tried to allocate 268435456 bytes", "Tried to allocate 2.00 GiB."
  size_t const at = what.find(asked.substr(1));
  std::string amount;
  if (at != std::string::npos) {
    std::string const rest = what.substr(at + asked.size() - 1);
    size_t const unit = rest.find_first_not_of("0123456789.");
    bool const bytes = rest.compare(std::min(unit, rest.size()), 6, " bytes") == 0;
    amount = " of " + (bytes ? format_bytes(std::stod(rest)) : rest.substr(0, rest.find_first_of(".,;", rest.find(' '))));
  }
  Limit const free = free_memory();
  return fmt::format("an allocation{} was refused; {} are free ({})", amount, format_bytes(static_cast<double>(free.value)), free.rule);
}

}  // namespace isobath
