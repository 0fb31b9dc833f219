#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <set>
#include <vector>

#include "core/random.h"

using namespace isobath;

TEST_CASE("random: permute is a bijection of [0, n)") {
  for (uint64_t n : {1, 2, 3, 4, 5, 16, 17, 255, 256, 257, 1000, 4096, 5001}) {
    for (uint64_t const key : {0ULL, 1ULL, 0xdeadbeefULL}) {
      std::vector<bool> hit(n);
      for (uint64_t i = 0; i < n; ++i) {
        uint64_t const image = permute(i, n, key);
        REQUIRE(image < n);
        REQUIRE_FALSE(hit[image]);
        hit[image] = true;
      }
    }
  }
}

TEST_CASE("random: permutations of different keys differ and mix") {
  constexpr uint64_t n = 2000;
  double displacement = 0;
  int same = 0, fixed = 0;
  for (uint64_t i = 0; i < n; ++i) {
    uint64_t const a = permute(i, n, make_key({1, 0})), b = permute(i, n, make_key({1, 1}));
    same += a == b;
    fixed += a == i;
    displacement += std::abs(static_cast<double>(a) - static_cast<double>(i)) / n;
  }
  CHECK(same < 12);  // one is expected
  CHECK(fixed < 12);
  CHECK(std::abs(displacement / n - 1.0 / 3) < 0.03);  // mean of |x - y| for independent uniforms
}

TEST_CASE("random: uniform numbers lie inside (0, 1) and are even") {
  constexpr int n = 100'000;
  std::vector<int> bins(10);
  double sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    double const u = random_uniform(7, i);
    REQUIRE(u > 0);
    REQUIRE(u < 1);
    sum += u;
    ++bins[static_cast<size_t>(u * 10)];
  }
  CHECK(std::abs(sum / n - 0.5) < 0.005);
  for (int const count : bins) CHECK(std::abs(count - n / 10) < 500);  // five standard deviations
}

TEST_CASE("random: normal numbers have the moments of a normal and no lag correlation") {
  constexpr int n = 200'000;
  double sum = 0, squares = 0, fourth = 0, lag = 0, before = 0;
  for (uint64_t i = 0; i < n; ++i) {
    double const x = random_normal(42, i);
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    lag += x * before;
    before = x;
  }
  CHECK(std::abs(sum / n) < 0.012);
  CHECK(std::abs(squares / n - 1) < 0.02);
  CHECK(std::abs(fourth / n - 3) < 0.15);
  CHECK(std::abs(lag / n) < 0.012);
}

TEST_CASE("random: keys depend on every part and on order") {
  std::set<uint64_t> const keys{make_key({}),     make_key({0}),    make_key({0, 0}), make_key({1}),
                                make_key({1, 0}), make_key({0, 1}), make_key({1, 2}), make_key({2, 1})};
  CHECK(keys.size() == 8);
  CHECK(hash_text("a") != hash_text("b"));
  CHECK(hash_text("") != hash_text(std::string_view("\0", 1)));
}

TEST_CASE("random: numbers are pinned, for checkpoints and reports outlive a build") {
  // From an independent implementation in Python.
  CHECK(mix(1) == 0x5692161d100b05e5ULL);
  CHECK(hash_text("model.embed_tokens.weight") == 0x1acb025cf390dc05ULL);
  CHECK(make_key({1, 2}) == 0x4e1101dbd15401d4ULL);
  CHECK(random_uniform(1, 2) == 0x1.e504df30ca7d3p-1);
  std::vector<uint64_t> images;
  for (uint64_t i = 0; i < 10; ++i) images.push_back(permute(i, 10, make_key({1})));
  CHECK(images == std::vector<uint64_t>{7, 6, 4, 1, 3, 0, 2, 9, 8, 5});
}
