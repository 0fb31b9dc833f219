#include "trainer/schedule/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/units.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"

namespace isobath {

Schedule::Schedule(TrainConfig const& train, int64_t step_flops, double steps_per_epoch)
    : train_(train), step_flops_(step_flops), steps_per_epoch_(steps_per_epoch) {
  double const steps = steps_of(train.budget), tokens = steps * static_cast<double>(train.batch_tokens);
  constexpr double too_many = 0x1p63;  // for an int64_t
  if (!(std::max(steps, tokens) < too_many)) {
    throw Error(ExitCode::config, "train.budget = " + format_duration(train.budget) + " is " + format_si(steps) + " steps of " +
                                      std::to_string(train.batch_tokens) + " tokens and " + format_si(static_cast<double>(step_flops)) +
                                      " FLOPs; fewer than " + format_si(too_many) + " steps and tokens can be counted");
  }
  bool const by_flops = train.budget.unit == Unit::flop;
  // The budget is rounded to the nearest step.
  Int128 const nearest = by_flops ? (2 * flop_budget() + step_flops) / (2 * Int128(step_flops)) : Int128(std::llround(steps));
  total_steps_ = std::max<int64_t>(1, static_cast<int64_t>(nearest));
  total_flops_ = Int128(total_steps_) * step_flops_;
  set_shares();
}

Schedule::Schedule(TrainConfig const& train, StepCost cost, double steps_per_epoch)
    : Schedule(train, std::max<int64_t>(1, cost(0, 1)), steps_per_epoch) {
  constexpr int64_t most_steps = int64_t{1} << 22;  // limit on steps that are planned one by one
  cost_ = std::move(cost);
  bool const by_flops = train.budget.unit == Unit::flop;
  int64_t step = 0;
  Int128 flops;
  if (by_flops) total_flops_ = flop_budget();
  while (step <= most_steps && (by_flops ? step == 0 || !finished(step, flops) : step < total_steps_)) {
    flops += step_flops(step, flops);
    ++step;
  }
  if (step > most_steps) {
    throw Error(ExitCode::config, "train.budget = " + format_duration(train.budget) + " is more than " + std::to_string(most_steps) +
                                      " steps, the most that a changing capacity can be planned for");
  }
  total_steps_ = step;
  if (!by_flops) total_flops_ = flops;
  step_flops_ = static_cast<int64_t>(flops / step);
  set_shares();
}

Int128 Schedule::flop_budget() const {
  std::optional<Int128> const whole = whole_amount(train_.budget);
  if (!whole) throw Error(ExitCode::config, "train.budget = " + format_duration(train_.budget) + " is more FLOPs than can be counted");
  return std::max(Int128(1), *whole);
}

void Schedule::set_shares() {
  double const total = static_cast<double>(total_steps_);
  warmup_ = std::clamp(steps_of(train_.warmup) / total, 0.0, 1.0);
  decay_ = std::clamp(steps_of(train_.decay) / total, 0.0, 1.0 - warmup_);
}

int64_t Schedule::step_flops(int64_t step, Int128 realised_flops) const {
  return cost_ ? cost_(step, progress(step, realised_flops)) : step_flops_;
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
    case Unit::second:
      break;  // no length of training
  }
  return 0;
}

double Schedule::progress(int64_t step, Int128 realised_flops) const {
  return train_.budget.unit == Unit::flop ? static_cast<double>(realised_flops) / static_cast<double>(total_flops())
                                          : static_cast<double>(step) / static_cast<double>(total_steps_);
}

bool Schedule::finished(int64_t step, Int128 realised_flops) const {
  return train_.budget.unit == Unit::flop ? realised_flops + step_flops(step, realised_flops) / 2 >= total_flops() : step >= total_steps_;
}

double Schedule::learning_rate(double progress) const {
  double const p = std::clamp(progress, 0.0, 1.0);
  if (p < warmup_) return train_.lr * p / warmup_;
  double shape = 1;  // 1: lr, 0: lr * min_lr
  if (train_.schedule == LearningRateSchedule::cosine) {
    double const q = warmup_ < 1 ? (p - warmup_) / (1 - warmup_) : 0;
    shape = 0.5 * (1 + std::cos(std::numbers::pi * q));
  } else if (decay_ > 0 && p > 1 - decay_) {
    shape = (1 - p) / decay_;
  }
  return train_.lr * (train_.min_lr + (1 - train_.min_lr) * shape);
}

double Schedule::next_learning_rate(int64_t step, Int128 realised_flops) const {
  return learning_rate(progress(step + 1, realised_flops + step_flops(step, realised_flops)));
}

bool Schedule::due(int64_t step, Duration const& every) const {
  double const period = steps_of(every);
  if (!(period > 0) || step <= 0) return false;
  // Adding 1e-9 keeps a period such as 25 % of 8 steps at exactly 2 despite rounding.
  auto const periods = [&](int64_t s) { return std::floor(static_cast<double>(s) / period + 1e-9); };
  return periods(step) > periods(step - 1);
}

Schedule make_schedule(Config const& config, int64_t vocab_size, double steps_per_epoch) {
  int64_t const length = config.model.context, sequences = std::max<int64_t>(1, config.train.batch_tokens / length);
  std::shared_ptr<DepthPlan const> const plan = plan_depth(config.model, config.depth);
  Ledger const ledger = make_ledger(config.model, config.depth, vocab_size, training_setup_of(config.train));
  if (!plan->steps_differ()) return Schedule(config.train, planned_train_flops(ledger, *plan, sequences, length), steps_per_epoch);
  auto const cost = [=, seed = static_cast<uint64_t>(config.seed)](int64_t step, double progress) {
    std::vector<RoutedWork> const work = ledger.planned_work(plan->step_capacities(seed, step, progress), sequences, length);
    return flops_in_64_bits(ledger.train(sequences, length, work), sequences * length);
  };
  return Schedule(config.train, cost, steps_per_epoch);
}

}  // namespace isobath
