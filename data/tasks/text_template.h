#pragma once
// Text with fields in braces: "Question: {question}\nAnswer:".

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// `{field}` stands for the text of a field. Filters cut it, one after another: `{field|before X}` keeps what precedes the first X (all of
// it where there is no X), `{field|after X}` what follows it (nothing where there is no X), `{field|trim}` drops white space at both ends.
// `{{` and `}}` are braces.
class TextTemplate {
 public:
  explicit TextTemplate(std::string_view text);  // throws Error(config) that names the faulty brace or filter
  // value: the text of a field.
  std::string fill(std::function<std::string(std::string const& field)> const& value) const;
  std::vector<std::string> fields() const;
  bool empty() const { return parts_.empty(); }

 private:
  struct Filter {
    std::string name, argument;
  };
  struct Part {
    std::string text;   // as it stands, where there is no field
    std::string field;  // "": text
    std::vector<Filter> filters;
  };
  static Part parse_field(std::string_view inside);
  std::vector<Part> parts_;
};

}  // namespace isobath
