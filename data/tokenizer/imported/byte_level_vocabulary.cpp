#include "data/tokenizer/imported/byte_level_vocabulary.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/preparation.h"
#include "data/tokenizer/imported/tokenizer_file.h"
#include "data/tokenizer/pieces.h"

namespace isobath {
namespace {

[[noreturn]] void refuse_for_llama_cpp(std::string const& why) {
  throw Error(ExitCode::config, "this tokenizer cannot be written into a GGUF file: " + why + "; --format hf takes it along");
}

void check_kind(TokenizerFile const& file) {
  if (!file.byte_level)
    refuse_for_llama_cpp(
        "it came with a pretrained model and writes U+2581 for a space. Its merges are a list, and llama.cpp's tokenizer for such "
        "vocabularies, 'llama', takes scores of tokens instead, which cannot say the same of every text");
  if (file.prefix != Prefix::none)
    refuse_for_llama_cpp("it puts a space before a text (add_prefix_space), which llama.cpp's byte-level tokenizer does not");
}

std::string preparation_of(TokenizerFile const& file, std::string const& preferred) {
  std::string const name = preparation_name(file, preferred);
  if (!name.empty()) return name;
  std::string patterns;
  for (std::string const& pattern : file.patterns) patterns += (patterns.empty() ? "" : " then ") + pattern;
  refuse_for_llama_cpp("llama.cpp has no name known here for how it cuts a text into words (" +
                       (patterns.empty() ? "it has no pattern" : "pattern " + patterns) + (file.nfc ? ", NFC" : "") +
                       (file.ignore_merges ? ", ignore_merges" : "") + "); known are " + known_preparations());
}

// Where one token ends as another begins, a text can hold both, overlapping: here the first of them counts, in llama.cpp the longer one.
// Runs of one character are cut alike.
void check_overlaps(std::vector<AddedToken> const& added) {
  auto const is_run = [](std::string const& text) { return text.find_first_not_of(text[0]) == std::string::npos; };
  for (AddedToken const& first : added)
    for (AddedToken const& second : added) {
      if (first.text == second.text || (is_run(first.text) && is_run(second.text))) continue;
      for (size_t shared = 1; shared < std::min(first.text.size(), second.text.size()); ++shared)
        if (first.text.ends_with(std::string_view(second.text).substr(0, shared)))
          refuse_for_llama_cpp("its added tokens '" + first.text + "' and '" + second.text +
                               "' can overlap in a text, and llama.cpp would find the other one");
    }
}

void put_token(ByteLevelVocabulary& vocabulary, int32_t id, std::string const& text, PieceType type) {
  auto const at = static_cast<size_t>(id);
  vocabulary.tokens[at] = text;
  vocabulary.types[at] = static_cast<int32_t>(type);
}

// llama.cpp needs a name for every id, and every name once.
void put_tokens(TokenizerFile const& file, size_t ids, ByteLevelVocabulary& vocabulary) {
  vocabulary.tokens.resize(ids);
  vocabulary.types.resize(ids, static_cast<int32_t>(PieceType::unused));
  for (auto const& [text, id] : file.vocabulary) put_token(vocabulary, id, text, PieceType::normal);
  for (AddedToken const& token : file.added) {
    if (token.lstrip || token.rstrip)
      refuse_for_llama_cpp("its added token '" + token.text + "' takes white space beside it along (lstrip, rstrip)");
    put_token(vocabulary, token.id, token.text, token.special ? PieceType::control : PieceType::user_defined);
  }
  std::set<std::string_view> seen;
  for (size_t id = 0; id < ids; ++id) {
    std::string& text = vocabulary.tokens[id];
    if (vocabulary.types[id] == static_cast<int32_t>(PieceType::unused)) text = "[PAD" + std::to_string(id) + "]";
    if (!seen.insert(text).second) refuse_for_llama_cpp("two of its ids are called '" + text + "'");
  }
}

// A merge that is listed twice counts where it stands last; in llama.cpp where it stands first.
std::vector<std::string> merges_once(TokenizerFile const& file, std::vector<std::string> const& tokens) {
  std::set<std::pair<int32_t, int32_t>> seen;
  std::vector<std::string> merges;
  for (auto merge = file.merges.rbegin(); merge != file.merges.rend(); ++merge)
    if (seen.emplace(merge->left, merge->right).second)
      merges.push_back(tokens[static_cast<size_t>(merge->left)] + " " + tokens[static_cast<size_t>(merge->right)]);
  std::reverse(merges.begin(), merges.end());
  return merges;
}

std::string note_on(TokenizerFile const& file) {
  std::string note, bytes;
  for (int byte = 0; byte < 0xF5; ++byte) {  // UTF-8 has neither greater ones nor 0xC0 and 0xC1
    if (byte == 0xC0 || byte == 0xC1 || file.vocabulary.contains(byte_level_names()[static_cast<size_t>(byte)])) continue;
    char text[8];
    std::snprintf(text, sizeof text, "0x%02X", static_cast<unsigned>(byte));
    bytes += (bytes.empty() ? "" : ", ") + std::string(text);
  }
  if (!bytes.empty() && file.unknown >= 0)
    refuse_for_llama_cpp("bytes without a token (" + bytes + ") become its unk_token, and llama.cpp leaves them out");
  if (!bytes.empty())
    note = "bytes without a token (" + bytes +
           ") are left out of a text; llama.cpp, unlike Isobath, does not merge what then stands side "
           "by side";
  if (file.nfc) note += std::string(note.empty() ? "" : ". ") + "llama.cpp does not normalize a text to NFC, which Isobath does";
  return note;
}

}  // namespace

ByteLevelVocabulary byte_level_vocabulary(Tokenizer const& imported) {
  auto const [json, settings] = without_settings(imported.serialized());
  TokenizerFile const file = read_tokenizer_file(json);
  check_kind(file);
  check_overlaps(file.added);
  ByteLevelVocabulary vocabulary;
  vocabulary.preparation = preparation_of(file, settings.preparation);
  put_tokens(file, static_cast<size_t>(imported.vocab_size()), vocabulary);
  vocabulary.merges = merges_once(file, vocabulary.tokens);
  vocabulary.split_special_tokens = settings.split_special_tokens;
  vocabulary.chat_template = settings.chat_template;
  vocabulary.note = note_on(file);
  return vocabulary;
}

}  // namespace isobath
