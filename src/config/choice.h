#pragma once
// An option whose values are the enumerators of an enum class, written in YAML by their names.

#include <array>
#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

namespace isobath {

// The names of E's enumerators, in the order of their declaration: specialised beside each enum, the one place where they stand.
//   template <> struct ChoiceNames<Split> { static constexpr std::array names{"document", "tail"}; };
template <class E>
struct ChoiceNames;

// What loading and printing need of a choice: the table of names and which of them is chosen.
class AnyChoice {
 public:
  std::span<char const* const> names() const { return names_; }
  std::string name() const { return names_[index_]; }
  void set(std::string_view name);  // throws Error(config), which lists what is allowed, when it is none of the names

 protected:
  constexpr AnyChoice(std::span<char const* const> names, size_t index) : names_(names), index_(index) {}

  std::span<char const* const> names_;
  size_t index_;
};

// Converts to an E where one is expected; can be set by a name.
template <class E>
class Choice : public AnyChoice {
 public:
  constexpr Choice(E value) : AnyChoice(ChoiceNames<E>::names, static_cast<size_t>(value)) {}
  Choice& operator=(std::string_view name) {
    set(name);
    return *this;
  }
  Choice& operator=(char const* name) { return *this = std::string_view(name); }
  constexpr E value() const { return static_cast<E>(index_); }
  constexpr operator E() const { return value(); }

  bool operator==(Choice const& other) const { return index_ == other.index_; }
  bool operator==(E other) const { return value() == other; }
};

inline std::ostream& operator<<(std::ostream& stream, AnyChoice const& choice) { return stream << choice.name(); }

}  // namespace isobath
