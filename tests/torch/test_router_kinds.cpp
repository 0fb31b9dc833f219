// What single routers and their options promise; what all of them promise: test_routers.cpp.
