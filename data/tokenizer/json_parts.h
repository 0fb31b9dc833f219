#pragma once
// Parts of a Hugging Face tokenizer.json.

#include <nlohmann/json.hpp>
#include <string>

namespace isobath {

// Adds a member without looking for its key among the others: vocabularies are long.
inline void append(nlohmann::ordered_json& object, std::string const& key, nlohmann::ordered_json const& value) {
  using Json = nlohmann::ordered_json;
  static_cast<Json::object_t::Container&>(object.get_ref<Json::object_t&>()).emplace_back(key, value);
}

inline nlohmann::ordered_json added_token(size_t id, std::string const& text, bool special) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

}  // namespace isobath
