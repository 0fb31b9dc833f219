#pragma once
// The pieces of a sentencepiece model with their scores and types, which sentencepiece's own interface does not give. Read from the
// model's protocol buffer.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

enum class PieceType : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };  // sentencepiece's numbers

struct Piece {
  std::string text;  // U+2581 stands for a space
  float score = 0;
  PieceType type = PieceType::normal;
};

struct PieceModel {
  std::vector<Piece> pieces;  // in the order of ids
  bool is_bpe = false;        // otherwise unigram, word or char
};

std::string spaces_for_marks(std::string_view piece);  // with a space for every U+2581

PieceModel read_pieces(std::string_view model);  // throws Error(data)

}  // namespace isobath
