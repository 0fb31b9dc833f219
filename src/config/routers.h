#pragma once
// The routers moved to config/sections; remove this file when nobody includes it.

#include "config/sections/routers.h"
