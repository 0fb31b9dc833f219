#pragma once
// Rows of data files: JSON objects, one a line (.jsonl, .ndjson), or the items of one array, over any number of lines.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/sources/text_file.h"

namespace isobath {

// Names file and line of a row, where it is known the column, and what is wrong. The rows behind it can still be read.
class BadRow : public Error {
 public:
  explicit BadRow(std::string const& message) : Error(ExitCode::data, message) {}
};

struct JsonRow {
  nlohmann::json values;  // an object
  int64_t line = 0;       // its line; in an array, which may be one line in all, its number. From 1
  std::string where;      // "FILE:LINE", in an array "FILE:LINE:COLUMN"

  // These throw BadRow for a field that is not there, listing those that are, or holds something else.
  std::string text(std::string const& field) const;
  std::string text_or_number(std::string const& field) const;  // numbers in their shortest form
  std::vector<std::string> texts(std::string const& field) const;
  int64_t index(std::string const& field, int64_t below) const;  // a whole number from 0 to `below` - 1
  [[noreturn]] void fail(std::string const& what) const;

 private:
  nlohmann::json const& at(std::string const& field) const;
};

// Whether the file's name says that it holds rows: .jsonl, .ndjson, .jsonlines or .json in any case, perhaps with that of a compression.
bool is_named_as_rows(fs::path const& path);

class JsonRowReader {
 public:
  // `path` is for messages. Throws Error(data) where the file is no text.
  JsonRowReader(TextFile& file, fs::path path);
  // The next row; false at the end. Blank lines are left out. Throws BadRow for one that is no JSON object, and Error(data) where rows
  // cannot be told apart any more.
  bool next(JsonRow& row);

 private:
  bool next_value(std::string& value);
  void skip_space();
  [[noreturn]] void fail_here(std::string const& what) const;

  fs::path path_;
  bool one_a_line_;
  LineReader lines_;
  CharacterReader characters_;
  bool in_array_ = false, begun_ = false;
  int64_t line_ = 1, column_ = 1;  // where the value began
  int64_t values_ = 0;
};

}  // namespace isobath
