#include "data/packed_examples.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "core/units.h"
#include "data/packing.h"

namespace isobath {
namespace {

constexpr int64_t behind_example = 2;  // tokens of a document that are not read: the last of the answer, and the document end

}  // namespace

std::vector<int64_t> example_lengths(TokenStream const& stream) {
  std::vector<int64_t> borders = stream.document_starts_in(0, stream.size());
  borders.push_back(stream.size());
  std::vector<int64_t> lengths;
  for (size_t i = 0; i + 1 < borders.size(); ++i) lengths.push_back(borders[i + 1] - borders[i] - behind_example);
  if (std::any_of(lengths.begin(), lengths.end(), [](int64_t length) { return length < 1; }))
    throw Error(ExitCode::data, "an example has fewer than two tokens, so that nothing is predicted from anything");
  return lengths;
}

PackedExamples::PackedExamples(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered)
    : stream_(stream), length_(length), seed_(seed), ordered_(ordered) {
  std::vector<Example> examples;
  std::vector<int64_t> lengths;
  int64_t end = 0;
  for (int64_t const whole : example_lengths(stream)) {
    end += whole + behind_example;
    int64_t const read = std::min(whole, length);
    longer_ += whole > read;
    tokens_lost_ += whole - read;
    tokens_ += read;
    examples.push_back({end - behind_example - read, read});
    lengths.push_back(read);
  }
  if (examples.empty()) throw Error(ExitCode::data, "there are no examples to read");
  begins_.push_back(0);
  for (auto const& window : pack_examples(lengths, length)) {
    for (int64_t const example : window) examples_.push_back(examples[static_cast<size_t>(example)]);
    begins_.push_back(std::ssize(examples_));
  }
}

std::string PackedExamples::describe() const {
  auto const places = static_cast<double>(count() * length_);
  std::string text = std::to_string(examples_.size()) + " examples, " + format_si(static_cast<double>(tokens_)) + " tokens, in " +
                     std::to_string(count()) + " windows of " + std::to_string(length_) + ", of which " +
                     format_real(std::round(1000 * (1 - static_cast<double>(tokens_) / places)) / 10) + " % are padding";
  if (longer_ > 0)
    text += "; " + std::to_string(longer_) + " examples are longer than model.context and lost " + std::to_string(tokens_lost_) +
            " tokens at their left ends";
  return text;
}

Batch PackedExamples::at(int64_t first_sample, int64_t sequences) const {
  if (first_sample < 0 || sequences < 0)
    throw Error(ExitCode::other, "no batch of " + std::to_string(sequences) + " sequences from sample " + std::to_string(first_sample));
  Batch batch;
  batch.first_sample = first_sample;
  batch.length = length_;
  batch.isolated = true;
  batch.sequences = ordered_ ? std::clamp<int64_t>(count() - first_sample, 0, sequences) : sequences;
  for (int64_t sample = first_sample; sample < first_sample + batch.sequences; ++sample) {
    auto const epoch = static_cast<uint64_t>(sample / count()), index = static_cast<uint64_t>(sample % count());
    uint64_t const key = ordered_ ? hash_text("validation order") : make_key({hash_text("data order"), seed_, epoch});
    append(static_cast<int64_t>(permute(index, static_cast<uint64_t>(count()), key)), batch);
  }
  batch.target_count = std::ssize(batch.targets) - std::count(batch.targets.begin(), batch.targets.end(), ignore_target);
  return batch;
}

void PackedExamples::append(int64_t window, Batch& batch) const {
  batch.windows.push_back(window);
  int32_t segment = 0;
  int64_t room = length_;
  for (int64_t i = begins_[static_cast<size_t>(window)]; i < begins_[static_cast<size_t>(window) + 1]; ++i) {
    Example const& example = examples_[static_cast<size_t>(i)];
    append(example, segment++, batch);
    room -= example.length;
  }
  append_padding(room, segment, batch);
}

void PackedExamples::append(Example const& example, int32_t segment, Batch& batch) const {
  std::vector<int64_t> tokens(static_cast<size_t>(example.length) + 1);
  stream_.copy(example.begin, tokens);
  std::vector<bool> const is_target = stream_.targets(example.begin, example.begin + std::ssize(tokens));
  for (size_t t = 0; t + 1 < tokens.size(); ++t) {
    batch.tokens.push_back(tokens[t]);
    batch.targets.push_back(is_target[t + 1] ? tokens[t + 1] : ignore_target);
    batch.positions.push_back(static_cast<int64_t>(t));
    batch.segments.push_back(segment);
  }
  batch.pairs += example.length * (example.length + 1) / 2;
}

void PackedExamples::append_padding(int64_t length, int32_t segment, Batch& batch) const {
  int64_t document_end = 0;
  stream_.copy(stream_.size() - 1, std::span(&document_end, 1));
  for (int64_t t = 0; t < length; ++t) {
    batch.tokens.push_back(document_end);
    batch.targets.push_back(ignore_target);
    batch.positions.push_back(t);
    batch.segments.push_back(segment);
  }
  batch.pairs += length * (length + 1) / 2;
}

std::unique_ptr<Windows> training_windows(TokenStream const& stream, int64_t length, uint64_t seed, bool isolate_documents) {
  if (stream.has_targets()) return std::make_unique<PackedExamples>(stream, length, seed, /*ordered=*/false);
  return std::make_unique<Loader>(stream, length, seed, /*ordered=*/false, isolate_documents);
}

std::unique_ptr<Windows> ordered_windows(TokenStream const& stream, int64_t length, bool isolate_documents) {
  if (stream.has_targets()) return std::make_unique<PackedExamples>(stream, length, 0, /*ordered=*/true);
  return std::make_unique<Loader>(stream, length, 0, /*ordered=*/true, isolate_documents);
}

}  // namespace isobath
