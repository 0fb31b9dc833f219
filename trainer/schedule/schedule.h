#pragma once
// The length of a run and its learning rate at every step. Uses no LibTorch.

#include <cstdint>
#include <functional>

#include "config/config.h"
#include "core/int128.h"

namespace isobath {

class Schedule {
 public:
  // Throws Error(config) when the budget is more steps or tokens than can be counted in 64 bits; FLOPs are counted in 128. step_flops:
  // ledger FLOPs of one optimizer step; steps_per_epoch: of this data at this batch size (may be a fraction).
  Schedule(TrainConfig const& train, int64_t step_flops, double steps_per_epoch);
  // The same for steps of different cost: `cost` gives the FLOPs of step `step` (from 0), which starts when the share `progress` of the run
  // is done.
  using StepCost = std::function<int64_t(int64_t step, double progress)>;
  Schedule(TrainConfig const& train, StepCost cost, double steps_per_epoch);

  int64_t total_steps() const { return total_steps_; }  // at least 1; planned where steps differ
  Int128 total_flops() const { return total_flops_; }
  int64_t mean_step_flops() const { return step_flops_; }
  // Planned FLOPs of the next step, after `step` steps that took `realised_flops` in all.
  int64_t step_flops(int64_t step, Int128 realised_flops) const;
  double warmup() const { return warmup_; }  // share of the run

  // Share of the run that is done; by realised FLOPs when the budget is in FLOPs, else by steps.
  double progress(int64_t step, Int128 realised_flops) const;
  // Whether the run is done. With a budget in FLOPs: whether one more step would end farther from the budget than this one did.
  bool finished(int64_t step, Int128 realised_flops) const;

  // Learning rate of the step that ends at `progress`: linear warm-up, then cosine to lr * min_lr, or constant with a linear decay (wsd).
  double learning_rate(double progress) const;
  double next_learning_rate(int64_t step, Int128 realised_flops) const;

  // A duration as a number of steps, which may be a fraction.
  double steps_of(Duration const& duration) const;
  // Whether something that happens once per `every` is due after `step` steps. An amount of 0: never.
  bool due(int64_t step, Duration const& every) const;

 private:
  void set_shares();
  Int128 flop_budget() const;  // only for a budget in FLOPs; at least 1

  TrainConfig train_;
  int64_t step_flops_;
  double steps_per_epoch_;
  StepCost cost_;  // empty: step_flops_ every time
  int64_t total_steps_ = 1;
  Int128 total_flops_;
  double warmup_ = 0, decay_ = 0;  // shares of the run
};

// The schedule of a run of `config`, with the ledger's FLOPs. Steps differ in cost when the capacity changes during the run.
Schedule make_schedule(Config const& config, int64_t vocab_size, double steps_per_epoch);

}  // namespace isobath
