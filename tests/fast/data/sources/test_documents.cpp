// What text files and rows are read as, whatever their names and packing; what is refused, and in which words.

#include <sys/stat.h>

#include <algorithm>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "data/sources/documents.h"
#include "data/sources/sources.h"
#include "tests/fast/data/corner.h"
#include "tests/fast/data/sources/compressed.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

namespace {

using Texts = std::vector<std::string>;

struct Sources {
  Scratch scratch;
  DataConfig config = {};
  ReadCounts counts = {};

  // The documents of the named file, glob or folder.
  Texts read(std::string const& name = "") {
    Texts texts;
    fs::path const path = name.empty() ? scratch.path() : scratch / name;
    counts =
        read_documents(list_sources({path.string()}), config, [&](std::string_view text, SourceFile const&) { texts.emplace_back(text); });
    return texts;
  }
  Texts one(std::string const& name, std::string const& bytes) {
    scratch.write(name, bytes);
    return read(name);
  }
  std::string refusal(std::string const& name, std::string const& bytes) {
    scratch.write(name, bytes);
    return error_of([&] { read(name); });
  }
};

std::string long_text() {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += story(i % 100).substr(0, 40);
  return text;
}

}  // namespace

TEST_CASE("documents: what is compressed is unpacked, whatever its name") {
  Sources sources;
  std::string const large = long_text();
  struct {
    char const* name;
    std::string (*pack)(std::string const&);
    char const* extension;
  } const formats[] = {{"gzip", gzip, ".gz"}, {"zstd", zstd, ".zst"}, {"xz", xz, ".xz"}, {"bzip2", bzip2, ".bz2"}};
  for (auto const& [name, pack, extension] : formats) {
    INFO(name);
    std::string capitals = extension;
    std::transform(capitals.begin(), capitals.end(), capitals.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    std::string const packed = pack(large);
    CHECK(sources.one("a.txt" + std::string(extension), packed) == Texts{large});
    CHECK(sources.counts.packed_files == 1);
    CHECK(sources.one("a.txt" + capitals, packed) == Texts{large});
    CHECK(sources.one("no-extension", packed) == Texts{large});
    CHECK(sources.one("two", pack("x") + pack("y")) == Texts{"xy"});  // members follow each other
    CHECK(sources.one("padded", pack("x") + std::string(512, '\0')) == Texts{"x"});
    CHECK(sources.one("nothing", pack("")).empty());
    CHECK(sources.one("rows.JSONL" + capitals, pack("{\"text\": \"one\"}\n{\"text\": \"two\"}")) == Texts{"one", "two"});
    for (double const kept : {0.0, 0.01, 0.5, 0.999}) {
      INFO(kept << " of the file");
      std::string const part = packed.substr(0, static_cast<size_t>(kept * static_cast<double>(packed.size())));
      CHECK_THAT(sources.refusal("cut" + std::string(extension), part), ContainsSubstring("cut") && ContainsSubstring(name));
    }
    CHECK_THAT(sources.refusal("plain" + std::string(extension), "not compressed at all"), ContainsSubstring(name));
    CHECK_THAT(sources.refusal("behind", packed + "more behind the end"), ContainsSubstring("damaged"));
    std::string flipped = packed;
    flipped[packed.size() / 2] = static_cast<char>(flipped[packed.size() / 2] ^ 0x55);
    CHECK_THAT(sources.refusal("flipped", flipped), ContainsSubstring("flipped"));
    CHECK_THAT(sources.refusal("twice", pack(packed)), ContainsSubstring("twice"));
  }
}

TEST_CASE("documents: a named file that is no text is refused by what it is, one in a folder left out") {
  Sources sources;
  std::string const archive = "name.txt" + std::string(249, '\0') + "ustar" + std::string(300, 'x');
  std::string pdf = "%PDF-1.4\n1 0 obj\n";
  struct {
    char const* name;
    std::string bytes;
    char const* what;
  } const files[] = {{"a.parquet", "PAR1 rows PAR1", "Parquet"},
                     {"b.txt", std::string("\xff\xfet\0e\0", 6), "UTF-16"},
                     {"c.txt", std::string("\xfe\xff\0t\0e", 6), "UTF-16"},
                     {"d.txt", std::string("t\0e\0x\0t\0", 8), "byte 2 is zero"},
                     {"e.pdf", pdf, "PDF"},
                     {"f.docx", "PK\x03\x04 word", "zip"},
                     {"g.tar", archive, "tar archive"},
                     {"h.tgz", gzip(archive), "tar archive"},
                     {"i.bin", "\x01\x02\x03\x04\x05\x06 data", "control characters"},
                     {"j.jsonl", std::string("\xff\xfe{\0}\0", 6), "UTF-16"}};
  for (auto const& [name, bytes, what] : files) {
    INFO(name);
    CHECK_THAT(sources.refusal(name, bytes), ContainsSubstring(name) && ContainsSubstring(what));
    CHECK_THAT(error_of([&, path = (sources.scratch / name).string()] { count_files(list_sources({path})); }), ContainsSubstring(what));
  }
  fs::remove(sources.scratch / "j.jsonl");
  sources.scratch.write("text.txt", "caf\xe9 in Latin-1\f\x1b[0m\n");  // what 8-bit texts have
  CHECK(sources.read() == Texts{"caf\xe9 in Latin-1\f\x1b[0m\n"});
  CHECK(sources.counts.binary_files == 9);
  CHECK_THAT(sources.counts.first_binary_file, ContainsSubstring("a.parquet"));
}

TEST_CASE("documents: a byte order mark is no text") {
  Sources sources;
  std::string const mark = "\xef\xbb\xbf";
  CHECK(sources.one("a.txt", mark + "text\r\n") == Texts{"text\r\n"});
  CHECK(sources.one("a.txt.gz", gzip(mark + "text")) == Texts{"text"});
  CHECK(sources.one("mark.txt", mark).empty());
  CHECK(sources.one("a.jsonl", mark + "{\"text\": \"one\"}\r\n{\"text\": \"two\"}\r\n") == Texts{"one", "two"});
  CHECK(sources.one("a.json", mark + "[{\"text\": \"one\"}]") == Texts{"one"});
}

TEST_CASE("documents: rows under every name that rows have") {
  Sources sources;
  std::string const rows =
      "{\"text\": \"one\\nline\"}\n\n{\"id\": 3, \"text\": \"\\u00e9\"}\r\n{\"text\": \"\"}\n{\"text\": \"last ]}\\\"\"}";
  std::string array = "[\n" + rows + "]";
  for (size_t at = 0; (at = array.find("}\r\n{", at)) != std::string::npos;) array.replace(at, 4, "} ,\n{");
  for (std::string const between : {"}\n\n{", "}\n{"}) array.replace(array.find(between), between.size(), "},{");
  std::string const spread = "{\n  \"text\": \"one\\nline\"\n}\n{\n \"text\": \"\\u00e9\"\n} {\"text\": \"last ]}\\\"\"}\n";
  Texts const expected{"one\nline", "\xc3\xa9", "last ]}\""};
  for (std::string const name : {"r.jsonl", "r.ndjson", "r.json", "R.JSONL", "r.Json"}) {
    INFO(name);
    CHECK(sources.one(name, rows) == expected);
    CHECK(sources.one(name, array) == expected);
    CHECK(sources.one(name, spread) == expected);
  }
  CHECK(sources.one("empty.json", " \n").empty());
  CHECK(sources.one("empty.json", "[ ]\n").empty());
}

TEST_CASE("documents: a .json file among source code is a text, unless it is named or holds rows") {
  Sources sources;
  std::string const settings = "{\n  \"private\": true\n}\n";
  sources.scratch.write("package.json", settings);
  sources.scratch.write("numbers.json", "[1, 2]");
  sources.scratch.write("rows.json", "[{\"text\": \"a row\"}]");
  CHECK(sources.read() == Texts{"[1, 2]", settings, "a row"});
  CHECK(sources.counts.json_texts == 2);
  CHECK_THAT(error_of([&] { sources.read("package.json"); }), ContainsSubstring("package.json:1: no field 'text'"));
}

TEST_CASE("documents: rows under a name of plain text are counted") {
  Sources sources;
  std::string const rows = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
  CHECK(sources.one("rows.txt", rows) == Texts{rows});
  CHECK(sources.counts.rows_as_text == 1);
  CHECK_THAT(sources.counts.first_rows_as_text, ContainsSubstring("rows.txt"));
  sources.one("code.c", "{ return text; }\n");
  CHECK(sources.counts.rows_as_text == 0);
}

TEST_CASE("documents: a bad row names file, line, column and reason") {
  Sources sources;
  struct {
    char const *row, *where, *why;
  } const rows[] = {{R"({"text": "half an emoji \ud83d here"})", ":2:", "surrogate"},
                    {R"({"text": "\udc00"})", ":2:", "surrogate"},
                    {R"({"score": NaN, "text": "x"})", ":2:11:", "NaN is no JSON value"},
                    {R"({"score": -Infinity, "text": "x"})", ":2:", "-Infinity is no JSON value"},
                    {R"({"score": None, "text": "x"})", ":2:11:", "None is no JSON value"},
                    {R"({"text": "\u00e9",})", ":2:19:", "a comma before '}'"},
                    {R"({'text': "x"})", ":2:2:", "single quotes"},
                    {"{\"text\": \"\xc3\xa9\xff\"}", ":2:12:", "UTF-8"},
                    {R"({"text": "cut)", ":2:", "quote"},
                    {R"({"text": null})", ":2:", "'text' is null, not a text"},
                    {R"({"text": 3})", ":2:", "'text' is a number"},
                    {R"({"text": ["x"]})", ":2:", "'text' is an array"},
                    {R"({"score": 1e999, "text": "x"})", ":2:", "1e999"},
                    {"17", ":2:", "and this is a number"},
                    {R"({"body": "x"})", ":2:", "no field 'text' in this row, which has: body"}};
  for (auto const& [row, where, why] : rows) {
    INFO(row);
    std::string const fine = "{\"text\": \"fine\"}\n", whole = fine + row + "\n" + fine;
    sources.config.bad_rows = "stop";
    CHECK_THAT(sources.refusal("rows.jsonl", whole),
               ContainsSubstring(std::string("rows.jsonl") + where) && ContainsSubstring(why) && ContainsSubstring("data.bad_rows=skip"));
    sources.config.bad_rows = "skip";
    CHECK(sources.one("rows.jsonl", whole) == Texts{"fine", "fine"});
    CHECK(sources.counts.bad_rows == 1);
    REQUIRE(sources.counts.first_bad_rows.size() == 1);
    CHECK_THAT(sources.counts.first_bad_rows[0], ContainsSubstring(why));
  }
}

TEST_CASE("documents: bad rows of an array, and of several lines") {
  Sources sources;
  std::string const array = "[{\"text\": \"one\"},\n {\"text\": null},\n  {\"text\":\n NaN},\n 7, {\"text\": \"two\"}]";
  CHECK_THAT(sources.refusal("a.json", array), ContainsSubstring("a.json:2:2: field 'text' is null"));
  sources.config.bad_rows = "skip";
  CHECK(sources.read("a.json") == Texts{"one", "two"});
  REQUIRE(sources.counts.first_bad_rows.size() == 3);
  CHECK_THAT(sources.counts.first_bad_rows[1], ContainsSubstring("a.json:4:2: not JSON: NaN"));
  // What is wrong between rows is never skipped.
  std::string const row = "{\"text\": \"one\"}";
  CHECK_THAT(sources.refusal("a.json", "[" + row + ",]"), ContainsSubstring("a.json:1:18: a comma before ']'"));
  CHECK_THAT(sources.refusal("a.json", "[" + row + " " + row + "]"), ContainsSubstring("is missing between the rows"));
  CHECK_THAT(sources.refusal("a.json", "[" + row), ContainsSubstring("the file ends before its array"));
  CHECK_THAT(sources.refusal("a.json", "[" + row + "] x"), ContainsSubstring("behind the end"));
  CHECK_THAT(sources.refusal("a.json", "[" + row + ", {\"text\": \"cut"),
             ContainsSubstring("the file ends before its array"));  // skipped before that
}

TEST_CASE("documents: five bad rows are listed, all are counted") {
  Sources sources;
  sources.config.bad_rows = "skip";
  std::string rows;
  for (int i = 0; i < 20; ++i) rows += "{\"text\": null}\n";
  CHECK(sources.one("rows.jsonl", rows + "{\"text\": \"x\"}").size() == 1);
  CHECK(sources.counts.bad_rows == 20);
  CHECK(sources.counts.first_bad_rows.size() == 5);
}

TEST_CASE("sources: links to folders are followed, each folder once") {
  Sources sources;
  sources.scratch.write("mix/a.txt", "a");
  sources.scratch.write("big/part/b.txt", "b");
  fs::create_directory_symlink("../big/part", sources.scratch / "mix/part");
  fs::create_directory_symlink("..", sources.scratch / "mix/up");
  fs::create_directory_symlink(".", sources.scratch / "mix/here");
  fs::create_symlink("../big/part/b.txt", sources.scratch / "mix/c.txt");
  Texts texts = sources.read("mix");
  std::sort(texts.begin(), texts.end());
  CHECK(texts == Texts{"a", "b", "b"});  // b itself by one of the ways to it, and the link to it
  texts = sources.read("mix/**/b.txt");
  CHECK(texts == Texts{"b"});
  CHECK(sources.read("mix/part/*.txt") == Texts{"b"});
  fs::create_symlink("nowhere", sources.scratch / "mix/d.txt");
  CHECK_THAT(error_of([&] { sources.read("mix"); }), ContainsSubstring("mix/d.txt") && ContainsSubstring("points to nothing"));
}

TEST_CASE("sources: pipes and devices are refused, folders that cannot be read are errors") {
  Sources sources;
  fs::path const pipe = sources.scratch / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THAT(error_of([&] { sources.read("pipe"); }),
             ContainsSubstring("a pipe") && ContainsSubstring("write what comes out of it to a file"));
  CHECK_THAT(error_of([&] { sources.read(); }), ContainsSubstring("a pipe"));
  CHECK_THAT(error_of([&] { list_sources({"/dev/zero"}); }), ContainsSubstring("a device"));
  fs::remove(pipe);
  if (::geteuid() == 0) return;  // may read everything
  sources.scratch.write("closed/b.txt", "b");
  fs::permissions(sources.scratch / "closed", fs::perms::none);
  CHECK_THAT(error_of([&] { sources.read(); }), ContainsSubstring("closed"));
  fs::permissions(sources.scratch / "closed", fs::perms::owner_all);
}
