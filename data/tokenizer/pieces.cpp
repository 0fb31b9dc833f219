#include "data/tokenizer/pieces.h"

#include <bit>
#include <cstring>

#include "core/error.h"

namespace isobath {
namespace {

[[noreturn]] void refuse_model() { throw Error(ExitCode::data, "unusable tokenizer model: it is no sentencepiece model"); }

// Field by field through a message. Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}
  bool next() {
    if (rest_.empty()) return false;
    uint64_t const tag = varint();
    number = tag >> 3;
    wire_type = tag & 7;
    if (wire_type == 0)
      value = varint();
    else if (wire_type == 1 || wire_type == 2 || wire_type == 5)
      bytes = take(wire_type == 1 ? 8 : wire_type == 5 ? 4 : varint());
    else
      refuse_model();
    return true;
  }
  float as_float() const {
    if (bytes.size() != sizeof(float)) refuse_model();
    float result;
    std::memcpy(&result, bytes.data(), sizeof result);
    return result;
  }

  uint64_t number = 0, wire_type = 0, value = 0;
  std::string_view bytes;

 private:
  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      auto const byte = static_cast<unsigned char>(take(1)[0]);
      result |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return result;
    }
    refuse_model();
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) refuse_model();
    std::string_view const taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
};

Piece read_piece(std::string_view message) {
  Piece piece;
  for (Fields field(message); field.next();) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) piece.score = field.as_float();
    if (field.number == 3) piece.type = static_cast<PieceType>(field.value);
  }
  return piece;
}

}  // namespace

std::string spaces_for_marks(std::string_view piece) {
  constexpr std::string_view mark = "\xe2\x96\x81";  // U+2581
  std::string text;
  for (size_t found = 0; (found = piece.find(mark)) != std::string_view::npos; piece.remove_prefix(found + mark.size())) {
    text += piece.substr(0, found);
    text += ' ';
  }
  return text += piece;
}

PieceModel read_pieces(std::string_view model) {
  constexpr uint64_t pieces = 1, training = 2, model_type = 3, bpe = 2;  // numbers of the fields, and of BPE among the types
  PieceModel result;
  for (Fields field(model); field.next();) {
    if (field.number == pieces) result.pieces.push_back(read_piece(field.bytes));
    if (field.number != training) continue;
    for (Fields setting(field.bytes); setting.next();)
      if (setting.number == model_type && setting.wire_type == 0) result.is_bpe = setting.value == bpe;
  }
  return result;
}

}  // namespace isobath
