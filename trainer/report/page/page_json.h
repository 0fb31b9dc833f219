#pragma once
// What the page holds of report.json.

#include <nlohmann/json_fwd.hpp>

namespace isobath {

// The same keys, but smaller: what the page does not show is left out, numbers have seven digits, and curves of very many runs fewer
// points.
nlohmann::ordered_json page_json(nlohmann::ordered_json report);

}  // namespace isobath
