#include "config/tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "core/utf8.h"

namespace isobath {
namespace {

constexpr size_t largest_file = 1 << 20;
constexpr int deepest_nesting = 32;

// Offset of the first byte that is not UTF-8 or is a control character other than a tab or a line break; npos when there is none.
size_t first_bad_byte(std::string_view text) {
  size_t const valid = utf8_prefix(text);
  auto const control = [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t'; };
  auto const bad = std::find_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(valid), control);
  size_t const at = static_cast<size_t>(bad - text.begin());
  return at < text.size() ? at : std::string_view::npos;
}

// Turns the parser's events into a Tree; keeps going after a problem, to report as many as there are.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, std::shared_ptr<Source const> source, Problems& problems, int first_column)
      : text_(text), source_(std::move(source)), problems_(problems), first_column_(first_column) {}

  Place place(YAML::Mark const& mark) const {
    int const line = std::max(mark.line, 0) + 1;
    return {source_, line, std::max(mark.column, 0) + (line == 1 ? first_column_ : 1)};
  }

  Tree take() { return std::move(root_); }

  void OnDocumentStart(YAML::Mark const&) override {}
  void OnDocumentEnd() override {}

  void OnNull(YAML::Mark const& mark, YAML::anchor_t anchor) override {
    Tree tree = make(Tree::Kind::null, mark, "", anchor);
    add(std::move(tree));
  }
  void OnAlias(YAML::Mark const& mark, YAML::anchor_t) override {
    problems_.add(place(mark), "YAML aliases (*name) are not supported; use include: for what files share");
    Tree nothing = make(Tree::Kind::null, mark, "", YAML::NullAnchor);
    nothing.refused = true;
    add(std::move(nothing));
  }
  void OnScalar(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor, std::string const& value) override {
    Tree tree = make(Tree::Kind::scalar, mark, tag, anchor);
    tree.quoted = tag == "!";
    if (!is_closed(mark)) problems_.add(tree.place, "this quote is not closed");
    tree.text = value;
    if (!tree.quoted && is_null_word(value)) tree.kind = Tree::Kind::null;
    add(std::move(tree));
  }
  void OnSequenceStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(make(Tree::Kind::list, mark, tag, anchor));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(make(Tree::Kind::map, mark, tag, anchor));
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    Tree tree;
    Tree key;
    bool has_key = false;
  };

  Tree make(Tree::Kind kind, YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor) {
    Tree tree;
    tree.kind = kind;
    tree.place = place(mark);
    if (anchor != YAML::NullAnchor) problems_.add(tree.place, "YAML anchors (&name) are not supported; use include: for what files share");
    if (!tag.empty() && tag != "?" && tag != "!") problems_.add(tree.place, "YAML tags are not supported: " + tag);
    return tree;
  }

  // yaml-cpp takes the end of the file for a closing quote.
  bool is_closed(YAML::Mark const& mark) const {
    auto at = static_cast<size_t>(mark.pos);
    if (at >= text_.size() || (text_[at] != '"' && text_[at] != '\'')) return true;
    char const quote = text_[at];
    while (++at < text_.size()) {
      if (quote == '"' && text_[at] == '\\') {
        ++at;
      } else if (text_[at] == quote) {
        if (quote == '"' || at + 1 == text_.size() || text_[at + 1] != quote) return true;
        ++at;  // '' inside single quotes
      }
    }
    return false;
  }

  void open(Tree tree) {
    if (stack_.size() >= deepest_nesting) {
      throw YAML::ParserException(YAML::Mark::null_mark(),
                                  "nested too deeply (" + std::to_string(deepest_nesting) + " levels are allowed)");
    }
    stack_.push_back({std::move(tree), {}, false});
  }

  void close() {
    Tree tree = std::move(stack_.back().tree);
    stack_.pop_back();
    add(std::move(tree));
  }

  void add(Tree tree) {
    if (stack_.empty()) {
      root_ = std::move(tree);
      return;
    }
    Level& level = stack_.back();
    if (level.tree.kind == Tree::Kind::list) {
      level.tree.items.push_back(std::move(tree));
    } else if (!level.has_key) {
      level.key = std::move(tree);
      level.has_key = true;
    } else {
      level.has_key = false;
      add_entry(level, std::move(tree));
    }
  }

  void add_entry(Level& level, Tree value) {
    if (level.key.kind != Tree::Kind::scalar) {
      problems_.add(level.key.place, "a key must be a word");
    } else if (level.key.text == "<<" && !level.key.quoted) {
      problems_.add(level.key.place, "YAML merge keys (<<) are not supported; use include: for what files share");
    } else if (!value.refused) {
      // Without a value there is no mark worth showing.
      if (value.kind == Tree::Kind::null) value.place = level.key.place;
      level.tree.entries.push_back({std::move(level.key), std::move(value)});
    }
  }

  std::string_view text_;
  std::shared_ptr<Source const> source_;
  Problems& problems_;
  int first_column_;
  Tree root_;
  std::vector<Level> stack_;
};

// The parser's own messages, in words that help.
std::string explain(std::string const& message) {
  static std::array<std::pair<char const*, char const*>, 10> const better{{
      {YAML::ErrorMsg::UNKNOWN_ANCHOR, "text that starts with * must be quoted (YAML reads it as an alias)"},
      {YAML::ErrorMsg::ALIAS_NOT_FOUND, "text that starts with * must be quoted (YAML reads it as an alias)"},
      {YAML::ErrorMsg::CHAR_IN_ALIAS, "text that starts with * must be quoted (YAML reads it as an alias)"},
      {YAML::ErrorMsg::END_OF_MAP_FLOW, "a '{' is not closed, or a ',' is missing"},
      {YAML::ErrorMsg::END_OF_SEQ_FLOW, "a '[' is not closed, or a ',' is missing"},
      {YAML::ErrorMsg::END_OF_MAP, "this line does not fit the map it stands in: look at its indentation, or for a missing ':'"},
      {YAML::ErrorMsg::MAP_VALUE, "a ':' that makes no sense here: look at the indentation, or quote the text"},
      {YAML::ErrorMsg::FLOW_END, "a '[' or '{' is closed by the wrong bracket"},
      {YAML::ErrorMsg::EOF_IN_SCALAR, "a quote is not closed"},
      {YAML::ErrorMsg::UNKNOWN_TOKEN, "text that starts with this character must be quoted"},
  }};
  for (auto const& [from, to] : better) {
    if (message == from) return to;
  }
  return message;
}

// YAML forbids tabs in indentation; yaml-cpp reads some of them as something else.
bool find_tabs(std::shared_ptr<Source const> const& source, std::vector<std::string> const& lines, Problems& problems) {
  bool found = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    size_t const text = lines[i].find_first_not_of(" \t");
    size_t const tab = lines[i].find('\t');
    if (text == std::string::npos || tab >= text || lines[i][text] == '#') continue;
    problems.add({source, static_cast<int>(i) + 1, static_cast<int>(tab) + 1}, "a tab in the indentation; YAML wants spaces");
    found = true;
  }
  return found;
}

}  // namespace

Tree parse_tree(std::string const& text, std::shared_ptr<Source const> const& source, Problems& problems, int first_column) {
  Builder builder(text, source, problems, first_column);
  // Problems in bytes that are not text, or in a file that is too long, show no source line.
  auto const blind = source ? std::make_shared<Source const>(Source{source->label, {}, source->numbered}) : source;
  if (text.size() > largest_file) {
    problems.add({blind, 1, 1}, "too long for a configuration: " + std::to_string(text.size()) + " bytes, 1 MiB is allowed");
    return {};
  }
  if (size_t const bad = first_bad_byte(text); bad != std::string::npos) {
    auto const line = static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n'));
    auto const start = line == 0 ? 0 : text.rfind('\n', bad) + 1;
    problems.add({blind, line + 1, static_cast<int>(bad - start) + 1}, "not UTF-8 text (or a control character)");
    return {};
  }
  if (find_tabs(source, split_lines(text), problems)) return {};

  std::istringstream stream(text);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    Tree tree = builder.take();
    Problems unread;  // problems of a second document, which is refused as a whole
    Builder rest(text, source, unread, first_column);
    if (parser.HandleNextDocument(rest)) problems.add(rest.take().place, "a second YAML document; one file holds one");
    return tree;
  } catch (YAML::Exception const& error) {
    Place const where = error.mark.is_null() ? Place{source, 1, first_column} : builder.place(error.mark);
    problems.add(where, explain(error.msg));
  }
  return {};
}

bool is_null_word(std::string_view text) { return text == "~" || text == "null" || text == "Null" || text == "NULL"; }

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  for (char const c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          constexpr char const* digits = "0123456789abcdef";
          out += {'\\', 'x', digits[(c >> 4) & 15], digits[c & 15]};
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string yaml_text(std::string_view text) {
  auto const is_safe = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_./~+-%").find(c) != std::string_view::npos;
  };
  bool const plain = !text.empty() && std::all_of(text.begin(), text.end(), is_safe) && text[0] != '-' && text[0] != '%' &&
                     text[0] != '+' && !text.starts_with("...") && !is_null_word(text);
  return plain ? std::string(text) : quoted_text(text);
}

std::string yaml_flow(Tree const& tree) {
  std::string text;
  switch (tree.kind) {
    case Tree::Kind::null:
      return "null";
    case Tree::Kind::scalar:
      return yaml_text(tree.text);
    case Tree::Kind::list:
      for (Tree const& item : tree.items) text += (text.empty() ? "" : ", ") + yaml_flow(item);
      return "[" + text + "]";
    case Tree::Kind::map:
      for (auto const& [key, value] : tree.entries) {
        text += (text.empty() ? "" : ", ") + yaml_text(key.text) + ": " + yaml_flow(value);
      }
      return "{" + text + "}";
  }
  return text;
}

}  // namespace isobath
