#pragma once
// Notes below the verdicts: what a reader should know of the runs before believing them. Uses no LibTorch.

#include "trainer/report/report.h"

namespace isobath {

// Adds notes to report.warnings, after judge().
void add_notes(Report& report);

}  // namespace isobath
