#pragma once

namespace isobath {

extern char const* const report_style;  // CSS of the HTML report, light and dark

}  // namespace isobath
