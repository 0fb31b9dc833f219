#pragma once
// Standard streams: results go to standard output, through standard_output() alone; the log goes to standard error (core/log.h).

#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>

namespace isobath {

// Opens standard streams that this process was started without on the null device, so that no file which is opened later gets their
// numbers. Standard output is opened for reading alone: a result that nobody can receive is an error. Call first in main.
void open_standard_streams();

// Writes all of `text`, in several pieces where the descriptor takes no more at once. Where it is full, waits until it takes
// more, at most `patience_s` seconds for each piece (0: as long as it takes; with O_NONBLOCK until the program is asked to stop). Returns
// errno.
int write_whole(int descriptor, std::string_view text, double patience_s = 0);

// What commands print. Text waits until flush(), or until there is much of it.
class Output {
 public:
  ~Output() = default;  // writes nothing: main flushes, because it can still say that this failed
  template <typename T>
  Output& operator<<(T const& value) {
    waiting_ << value;
    if (waiting_.tellp() > largest_wait) flush();
    return *this;
  }
  void flush();  // throws Error(disk) when standard output does not take all of it, Stopped when it waits and the program is asked to stop

 private:
  static constexpr std::streamoff largest_wait = 1 << 16;
  std::ostringstream waiting_;
};

Output& standard_output();

// Prints what was written to `file`, "FILE: what"; to the log where the file is standard output itself, as /dev/stdout is.
void announce_file(std::filesystem::path const& file, std::string const& what);

}  // namespace isobath
