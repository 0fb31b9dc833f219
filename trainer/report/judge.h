#pragma once
// The verdicts of a report. No LibTorch.

#include "trainer/report/report.h"

namespace isobath {

// Fills headline, best_dense, challenger and pairs from the arms, of which there is at least one.
void judge(Report& report);

}  // namespace isobath
