// Lines of key.path=value, as on the command line.
#include <string>
#include <vector>

#include "config/io.h"
#include "config/problems.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) { show_config(load_config({}, split_lines(input))); }
