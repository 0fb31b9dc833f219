#pragma once
// The verdicts of a report. Uses no LibTorch.

#include "trainer/report/report.h"

namespace isobath {

// Fills headline, best_dense, challenger and pairs from the arms. There must be at least one arm.
void judge(Report& report);

}  // namespace isobath
