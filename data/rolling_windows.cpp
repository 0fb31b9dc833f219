#include "data/rolling_windows.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace isobath {

RollingWindows::RollingWindows(TokenStream const& stream, int32_t start, int64_t length) : stream_(stream), start_(start) {
  std::vector<int64_t> borders = stream.document_starts_in(0, stream.size());
  borders.push_back(stream.size());
  for (size_t document = 0; document + 1 < borders.size(); ++document) {
    int64_t const begin = borders[document], tokens = borders[document + 1] - begin - 1;  // without the document end
    for (int64_t scored = 0; scored < tokens;) {
      int64_t const end = std::min(scored + length, tokens), window = scored == 0 ? end : length;
      windows_.push_back({{static_cast<int64_t>(document), window - (end - scored)}, begin, end, window});
      scored = end;
    }
  }
}

Batch RollingWindows::at(int64_t first, int64_t most) const {
  if (first < 0 || first >= count() || most < 1)
    throw Error(ExitCode::other,
                "no batch of " + std::to_string(most) + " windows from window " + std::to_string(first) + " of " + std::to_string(count()));
  Batch batch;
  batch.first_sample = first;
  batch.length = windows_[static_cast<size_t>(first)].length;
  for (int64_t i = first; i < std::min(first + most, count()); ++i) {
    Window const& window = windows_[static_cast<size_t>(i)];
    if (window.length != batch.length) break;
    append(window, batch);
  }
  batch.segments.resize(batch.tokens.size());
  return batch;
}

void RollingWindows::append(Window const& window, Batch& batch) const {
  // The token before each target and the targets. What stands before a document's first token is `start`.
  int64_t const first_target = window.end - window.length;
  bool const at_start = first_target == 0;
  std::vector<int64_t> tokens(static_cast<size_t>(window.length) + 1, start_);
  stream_.copy(window.document_begin + first_target - !at_start, std::span(tokens).subspan(at_start));
  batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
  batch.targets.insert(batch.targets.end(), static_cast<size_t>(window.place.context), ignore_target);
  batch.targets.insert(batch.targets.end(), tokens.begin() + 1 + window.place.context, tokens.end());
  for (int64_t t = 0; t < window.length; ++t) batch.positions.push_back(t);
  batch.pairs += window.length * (window.length + 1) / 2;
  batch.target_count += window.length - window.place.context;
  batch.places.push_back(window.place);
  ++batch.sequences;
}

}  // namespace isobath
