#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/units.h"

namespace isobath {

Schedule::Schedule(TrainConfig const& train, int64_t step_flops, double steps_per_epoch)
    : train_(train), step_flops_(step_flops), steps_per_epoch_(steps_per_epoch) {
  constexpr double most_flops = int64_t{1} << 62;  // counted exactly, as an integer
  double const steps = steps_of(train.budget), most_steps = most_flops / static_cast<double>(std::max<int64_t>(1, step_flops));
  if (!(steps <= most_steps)) {
    throw Error(ExitCode::config, "train.budget = " + format_duration(train.budget) + " is " + format_si(steps) + " steps of " +
                                      format_si(static_cast<double>(step_flops)) + " FLOPs; at most " + format_si(most_flops) +
                                      " FLOPs can be counted");
  }
  total_steps_ = std::max<int64_t>(1, std::llround(steps));
  double const total = static_cast<double>(total_steps_);
  warmup_ = std::clamp(steps_of(train.warmup) / total, 0.0, 1.0);
  decay_ = std::clamp(steps_of(train.decay) / total, 0.0, 1.0 - warmup_);
}

double Schedule::steps_of(Duration const& duration) const {
  switch (duration.unit) {
    case Unit::step:
      return duration.amount;
    case Unit::token:
      return duration.amount / static_cast<double>(train_.batch_tokens);
    case Unit::flop:
      return duration.amount / static_cast<double>(step_flops_);
    case Unit::epoch:
      return duration.amount * steps_per_epoch_;
    case Unit::percent:
      return duration.amount / 100.0 * static_cast<double>(total_steps_);
  }
  return 0;
}

double Schedule::progress(int64_t step, int64_t realised_flops) const {
  return train_.budget.unit == Unit::flop ? static_cast<double>(realised_flops) / static_cast<double>(total_flops())
                                          : static_cast<double>(step) / static_cast<double>(total_steps_);
}

bool Schedule::finished(int64_t step, int64_t realised_flops) const {
  return train_.budget.unit == Unit::flop ? realised_flops + step_flops_ / 2 >= total_flops() : step >= total_steps_;
}

double Schedule::learning_rate(double progress) const {
  double const p = std::clamp(progress, 0.0, 1.0);
  if (p < warmup_) return train_.lr * p / warmup_;
  double shape = 1;  // 1: lr, 0: lr * min_lr
  if (train_.schedule == "cosine") {
    double const q = warmup_ < 1 ? (p - warmup_) / (1 - warmup_) : 0;
    shape = 0.5 * (1 + std::cos(std::numbers::pi * q));
  } else if (decay_ > 0 && p > 1 - decay_) {
    shape = (1 - p) / decay_;
  }
  return train_.lr * (train_.min_lr + (1 - train_.min_lr) * shape);
}

double Schedule::next_learning_rate(int64_t step, int64_t realised_flops) const {
  return learning_rate(progress(step + 1, realised_flops + step_flops_));
}

bool Schedule::due(int64_t step, Duration const& every) const {
  double const period = steps_of(every);
  if (!(period > 0) || step <= 0) return false;
  // The small share keeps 25 % of 8 steps at exactly 2 in spite of rounding.
  auto const periods = [&](int64_t s) { return std::floor(static_cast<double>(s) / period + 1e-9); };
  return periods(step) > periods(step - 1);
}

}  // namespace isobath
