#include "model/decode/generate.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "core/error.h"

namespace isobath {

namespace {

// A text that is being continued.
struct Running {
  size_t text;
  int64_t number;              // the decoder's number of the text
  std::vector<int32_t> known;  // prompt and new tokens, as far as they are in view
};

class Generation {
 public:
  Generation(LanguageModel& model, std::vector<std::vector<int32_t>> const& prompts, GenerateSettings const& settings,
             std::function<bool(NewToken const&)> const& on_token, std::function<void(size_t)> const& on_end)
      : settings_(settings),
        context_(model.model_config().context),
        decoder_(model, settings.sampler.seed, settings.most_cache_bytes),
        on_token_(on_token),
        on_end_(on_end) {
    result.texts.resize(prompts.size() * static_cast<size_t>(settings.samples));
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::string const which = "prompt " + std::to_string(i + 1);
      if (prompts[i].empty()) throw Error(ExitCode::data, which + " has no token to start from");
      if (std::ssize(prompts[i]) < context_ || settings.window) continue;
      throw Error(ExitCode::data, which + " has " + std::to_string(prompts[i].size()) +
                                      " tokens, which leaves no room in model.context = " + std::to_string(context_) +
                                      ": shorten it, or let the later half alone be in view (--window)");
    }
  }

  void start(size_t text, std::vector<int32_t> const& prompt) {
    Running fresh{text, 0, prompt};
    if (std::ssize(prompt) >= context_) fresh.known.assign(prompt.end() - later_half(), prompt.end());
    Decoder::Read read;
    fresh.number = decoder_.start(fresh.known, read);
    running_.push_back(std::move(fresh));
    take(read, running_.size() - 1);
  }

  // One more token of every running text.
  void step() {
    auto const begin = std::chrono::steady_clock::now();
    std::vector<int64_t> numbers;
    std::vector<int32_t> tokens;
    for (Running& one : running_) {
      numbers.push_back(one.number);
      tokens.push_back(one.known.back());
    }
    Decoder::Read const read = decoder_.next(numbers, tokens);
    result.steps += 1;
    result.step_tokens += std::ssize(running_);
    take(read, 0);
    result.step_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  size_t running() const { return running_.size(); }

  Generated result;

 private:
  int64_t later_half() const { return std::max<int64_t>(2, context_ / 2); }

  Drawn draw(std::span<float const> logits_V, size_t text) const {
    auto const samples = static_cast<size_t>(settings_.samples);
    size_t const prompt = text / samples;
    TextNumber number{settings_.first.prompt + prompt, settings_.first.sample + text % samples};
    SamplerSettings sampler = settings_.sampler;
    if (prompt < settings_.seeds.size() && settings_.seeds[prompt]) {
      sampler.seed = *settings_.seeds[prompt];
      number.prompt = 0;
    }
    return draw_token(logits_V, sampler, result.texts[text].size(), number);
  }

  // Draws the next token of each running text from `first` on, from the logits of `read`.
  void take(Decoder::Read const& read, size_t first) {
    if (decoder_.use().stored > result.most.stored) result.most = decoder_.use();
    at::Tensor const logits_BV = read.logits_BV.to(at::kCPU, at::kFloat).contiguous(), depth_BT = read.depth_BT.cpu().contiguous();
    result.blocks += depth_BT.sum().item<int64_t>();
    result.read_tokens += depth_BT.numel();
    int64_t const V = logits_BV.size(1), T = depth_BT.size(1);
    std::vector<Running> going_on(std::make_move_iterator(running_.begin()),
                                  std::make_move_iterator(running_.begin() + static_cast<std::ptrdiff_t>(first)));
    std::vector<Drawn> draws(static_cast<size_t>(logits_BV.size(0)));
    at::parallel_for(0, logits_BV.size(0), 1 + 4096 / V, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        draws[static_cast<size_t>(r)] =
            draw({logits_BV.const_data_ptr<float>() + r * V, static_cast<size_t>(V)}, running_[first + static_cast<size_t>(r)].text);
    });
    for (size_t row = 0; first + row < running_.size(); ++row) {
      Running& one = running_[first + row];
      std::vector<int32_t>& fresh = result.texts[one.text];
      auto const r = static_cast<int64_t>(row);
      Drawn const drawn = draws[row];
      bool goes_on = drawn.id != settings_.stop_token;
      if (goes_on) {
        fresh.push_back(drawn.id);
        one.known.push_back(drawn.id);
        int64_t const* depths = depth_BT.const_data_ptr<int64_t>() + r * T;
        goes_on = (!on_token_ || on_token_({one.text, drawn, {depths, depths + T}})) && std::ssize(fresh) < settings_.max_tokens;
      }
      if (goes_on && decoder_.length(one.number) >= context_) {
        goes_on = settings_.window;
        if (goes_on) restart(one);
      }
      if (goes_on) {
        going_on.push_back(std::move(one));
      } else {
        decoder_.finish(one.number);
        if (on_end_) on_end_(one.text);
      }
    }
    running_ = std::move(going_on);
  }

  // The context is full: reads the later half again except its last token, which the next step reads.
  void restart(Running& one) {
    decoder_.finish(one.number);
    one.known.erase(one.known.begin(), one.known.end() - later_half());
    Decoder::Read known;
    one.number = decoder_.start({one.known.begin(), one.known.end() - 1}, known);
  }

  GenerateSettings const& settings_;
  int64_t context_;
  Decoder decoder_;
  std::function<bool(NewToken const&)> const& on_token_;
  std::function<void(size_t)> const& on_end_;
  std::vector<Running> running_;
};

}  // namespace

Generated generate(LanguageModel& model, std::vector<std::vector<int32_t>> const& prompts, GenerateSettings const& settings,
                   std::function<bool(NewToken const&)> const& on_token, std::function<void(size_t)> const& on_end) {
  Generation generation(model, prompts, settings, on_token, on_end);
  size_t const samples = static_cast<size_t>(settings.samples), texts = prompts.size() * samples;
  size_t next = 0;
  while (next < texts || generation.running() > 0) {
    while (next < texts && generation.running() < static_cast<size_t>(settings.batch)) {
      generation.start(next, prompts[next / samples]);
      ++next;
    }
    if (generation.running() > 0) generation.step();
  }
  return std::move(generation.result);
}

}  // namespace isobath
