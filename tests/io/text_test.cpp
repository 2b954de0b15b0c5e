// SPDX-License-Identifier: MIT
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <culprit/io/csv.hpp>
#include <culprit/io/json.hpp>

#include "io/error_of.hpp"
#include "support/catch.hpp"

using culprit::ErrorCode;
using culprit::io::CsvWriter;
using culprit::io::dump;
using culprit::io::Json;
using culprit::io::parse_json;
using culprit::test::error_of;
using namespace std::string_literals;

TEST_CASE("json text is read into values of every kind", "[io]") {
  const Json json =
      parse_json(" {\"a\" : [1, -2.5e3, true, false, null],\r\n\t\"b\": {\"c\": \"d\"}, \"\": []} ", "place");
  CHECK(json.is_object());
  CHECK(json.size() == 3);
  CHECK(json.members()[0].first == "a");
  CHECK(json.members()[1].first == "b");
  const Json& a = json.at("a");
  REQUIRE(a.is_array());
  REQUIRE(a.size() == 5);
  CHECK(a[0].is_int());
  CHECK(a[0].as_int() == 1);
  CHECK(a[0].as_double() == 1.0);
  CHECK_FALSE(a[1].is_int());
  CHECK(a[1].is_number());
  CHECK(a[1].as_double() == -2500.0);
  CHECK(a[2].as_bool());
  CHECK_FALSE(a[3].as_bool());
  CHECK(a[4].is_null());
  CHECK(json.contains("b"));
  CHECK_FALSE(json.contains("c"));
  CHECK(json.at("b").at("c").as_string() == "d");
  CHECK(json.at("").items().empty());
}

TEST_CASE("json strings are unescaped and keep every code point", "[io]") {
  const auto text_of = [](const std::string& text) { return parse_json(text, "place").as_string(); };
  CHECK(text_of(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(text_of(R"("\u0041\u00e9\u20ac\ud83d\ude00")") == "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK(text_of("\"\\u0000\"") == "\0"s);
  for (const auto* text : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(text_of('"' + std::string{text} + '"') == text);
  }
  CHECK(dump(Json{"\"\\\n\x1f/\xc3\xa9"}) == "\"\\\"\\\\\\u000a\\u001f/\xc3\xa9\"");
}

TEST_CASE("json text that breaks a rule is refused at the byte that breaks it", "[io]") {
  struct Case {
    std::string text;
    std::string sentence;
  };
  const std::string deep(65, '[');
  const std::vector<Case> cases{
      {"", "byte 0: expected a JSON value, came the end of the text"},
      {" ", "byte 1: expected a JSON value, came the end of the text"},
      {"nul", "byte 0: expected a JSON value, came \"n\""},
      {"True", "byte 0: expected a JSON value, came \"T\""},
      {"\0"s, "byte 0: expected a JSON value, came \"\\x00\""},
      {"NaN", "byte 0: expected a JSON value, came \"N\""},
      {"[1 2]", "byte 3: expected ',' or ']', came \"2\""},
      {"[1,]", "byte 3: expected a JSON value, came \"]\""},
      {"[1", "byte 2: expected ',' or ']', came the end of the text"},
      {"[1\0]"s, "byte 2: expected ',' or ']', came \"\\x00\""},
      {"{1:2}", "byte 1: expected a string, came \"1\""},
      {"{\"a\" 1}", "byte 5: expected ':', came \"1\""},
      {"{\"a\":1,}", "byte 7: expected a string, came \"}\""},
      {"{\"a\":1", "byte 6: expected ',' or '}', came the end of the text"},
      {"{\"a\":1,\"b\":2,\"a\":3}", "byte 13: expected each key once, came \"a\" again"},
      {"1 1", "byte 2: expected the end of the JSON text, came \"1\""},
      {"01", "byte 1: expected the end of the JSON text, came \"1\""},
      {"-", "byte 1: expected a digit, came the end of the text"},
      {"+1", "byte 0: expected a JSON value, came \"+\""},
      {".5", "byte 0: expected a JSON value, came \".\""},
      {"1.", "byte 2: expected a digit, came the end of the text"},
      {"1e+", "byte 3: expected a digit, came the end of the text"},
      {"[1e999]", "byte 1: expected a number that a double holds, came \"1e999\""},
      {"\"a", "byte 2: expected the rest of a string, came the end of the text"},
      {"\"a\nb\"", "byte 2: expected the rest of a string, came \"\\x0a\""},
      {"\"\\x\"", "byte 2: expected an escape sequence of JSON, came \"x\""},
      {"\"\\", "byte 2: expected an escape sequence of JSON, came the end of the text"},
      {"\"\\u12g4\"", "byte 3: expected four hexadecimal digits, came \"1\""},
      {"\"\\u12", "byte 3: expected four hexadecimal digits, came \"1\""},
      {"\"\\ud83d\"", "byte 2: expected a pair of surrogates, came \"ud83d\""},
      {"\"\\ude00\"", "byte 2: expected a pair of surrogates, came \"ude00\""},
      {"\"\\ud83d\\u0041\"", "byte 2: expected a pair of surrogates, came \"ud83d\\u0041\""},
      {"\"\xff\"", "byte 1: expected UTF-8, came \"\\xff\""},
      {"\"a\x80\"", "byte 2: expected UTF-8, came \"\\x80\""},
      {"\"\xc0\xaf\"", "byte 1: expected UTF-8, came \"\\xc0\""},
      {"\"\xc2\"", "byte 1: expected UTF-8, came \"\\xc2\""},
      {"\"\xe0\x9f\xbf\"", "byte 1: expected UTF-8, came \"\\xe0\""},
      {"\"\xed\xa0\x80\"", "byte 1: expected UTF-8, came \"\\xed\""},
      {"\"\xe2\x82\"", "byte 1: expected UTF-8, came \"\\xe2\""},
      {"\"\xf0\x8f\xbf\xbf\"", "byte 1: expected UTF-8, came \"\\xf0\""},
      {"\"\xf4\x90\x80\x80\"", "byte 1: expected UTF-8, came \"\\xf4\""},
      {"\"\xf0\x9f\x98\"", "byte 1: expected UTF-8, came \"\\xf0\""},
      {deep, "byte 64: expected at most 64 arrays and objects inside each other, came one more"},
  };
  for (const Case& hostile : cases) {
    CAPTURE(hostile.text);
    const auto error = error_of([&] { parse_json(hostile.text, "FILE"); });
    CHECK(error.code() == ErrorCode::format);
    CHECK(error.what() == "FILE, " + hostile.sentence);
  }
  CHECK(parse_json(std::string(64, '[') + std::string(64, ']'), "FILE").size() == 1);
  std::string side_by_side = "[[]";
  for (int i = 0; i < 100; ++i) side_by_side += ",[]";
  CHECK(parse_json(side_by_side + "]", "FILE").size() == 101);
}

TEST_CASE("json integers are exact over 64 bits and doubles beyond", "[io]") {
  const auto round = [](const std::string& text) { return dump(parse_json(text, "place")); };
  for (const auto* text : {"9223372036854775807", "-9223372036854775808", "9007199254740993", "0", "-1"}) {
    CHECK(round(text) == text);
  }
  CHECK(parse_json("9223372036854775808", "place").as_double() == 0x1p63);
  CHECK(std::signbit(parse_json("-0", "place").as_double()));
  CHECK(round("-0") == "-0");
  CHECK(Json{std::uint64_t{1} << 62}.as_int() == std::int64_t{1} << 62);
  const auto error = error_of([] { Json{std::uint64_t{1} << 63}; });
  CHECK(error.code() == ErrorCode::numeric);
  CHECK(error.came() == "9223372036854775808");
}

TEST_CASE("json doubles of any bits read back as the same value", "[io]") {
  std::mt19937_64 random{culprit::test::seed()};
  std::size_t finite = 0;
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    ++finite;
    const double back = parse_json(dump(value), "place").as_double();
    if (std::bit_cast<std::uint64_t>(back) != std::bit_cast<std::uint64_t>(value)) FAIL(dump(value));
  }
  CHECK(finite > 99'000);
  CHECK(dump(0.1) == "0.1");
  CHECK(dump(1e22) == "1e+22");
  CHECK(dump(std::numeric_limits<double>::denorm_min()) == "5e-324");
}

TEST_CASE("json has neither NaN nor infinity nor text outside UTF-8", "[io]") {
  for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    CHECK(error_of([value] { dump(Json::array({1, value})); }).code() == ErrorCode::numeric);
  }
  const auto error = error_of([] { dump("ab\xff"); });
  CHECK(error.what() == "JSON string, byte 2: expected UTF-8, came \"\\xff\""s);
}

TEST_CASE("json is written on one line or indented and read back the same", "[io]") {
  Json json = Json::object();
  json.set("name", "conv1");
  json.set("shape", Json::array({16, 3}));
  json.set("empty", Json::array());
  json.set("none", Json{});
  json.set("nested", Json::object({{"z", 2.5}, {"right", true}}));
  json.set("name", "conv2");
  CHECK(dump(json) ==
        R"({"name":"conv2","shape":[16,3],"empty":[],"none":null,"nested":{"z":2.5,"right":true}})");
  CHECK(
      dump(json, 2) ==
      "{\n  \"name\": \"conv2\",\n  \"shape\": [\n    16,\n    3\n  ],\n  \"empty\": [],\n  \"none\": null,\n"
      "  \"nested\": {\n    \"z\": 2.5,\n    \"right\": true\n  }\n}");
  CHECK(parse_json(dump(json), "place") == json);
  CHECK(parse_json(dump(json, 4), "place") == json);
  Json list = Json::array();
  list.push_back("x"s);
  list.push_back(1.5F);
  CHECK(dump(list) == R"(["x",1.5])");
}

TEST_CASE("json values say which kind they are when asked for another", "[io]") {
  const Json json = parse_json(R"({"a": [1.5], "b": "text"})", "place");
  CHECK(error_of([&] { (void)json.as_int(); }).what() ==
        "JSON value: expected a 64-bit integer, came an object"s);
  CHECK(error_of([&] { (void)json.at("a")[0].as_int(); }).came() == "a number that is no 64-bit integer");
  CHECK(error_of([&] { (void)json.at("b").as_double(); }).came() == "a string");
  CHECK(error_of([&] { (void)json.at("b").size(); }).expected() == "an array");
  CHECK(error_of([&] { (void)json.at("a").members(); }).came() == "an array");
  CHECK(error_of([&] { (void)json.at("a")[1]; }).what() == "JSON array: expected more than 1 items, came 1"s);
  CHECK(error_of([&] { (void)json.at("c"); }).what() ==
        "JSON object: expected the key \"c\", came 2 members without it"s);
  CHECK(error_of([] { Json{1}.push_back(2); }).expected() == "an array");
  CHECK(error_of([] { Json{1}.set("a", 2); }).expected() == "an object");
}

TEST_CASE("csv fields are quoted where they must be", "[io]") {
  std::ostringstream out;
  CsvWriter csv{out, {"path", "a,b", "z"}};
  csv.row("plain text", "say \"hi\"", 1);
  csv.row("line\nbreak", std::string{"return\rhere"}, std::string_view{""});
  CHECK(out.str() == "path,\"a,b\",z\nplain text,\"say \"\"hi\"\"\",1\n\"line\nbreak\",\"return\rhere\",\n");
  std::ostringstream single;
  CsvWriter{single, {"name"}}.row("");
  CHECK(single.str() == "name\n\"\"\n");
}

TEST_CASE("csv numbers have the fewest digits that read back", "[io]") {
  std::ostringstream out;
  CsvWriter csv{out, {"a", "b", "c", "d", "e"}};
  csv.row(0.1, 0.1F, std::int64_t{-9223372036854775807 - 1}, std::uint64_t{18446744073709551615U}, 1e300);
  csv.row(std::nan(""), HUGE_VAL, -HUGE_VAL, -0.0, 1.0 / 3.0);
  CHECK(out.str() ==
        "a,b,c,d,e\n0.1,0.1,-9223372036854775808,18446744073709551615,1e+300\nnan,inf,-inf,-0,0."
        "3333333333333333\n");
}

TEST_CASE("csv rows have as many fields as there are columns", "[io]") {
  std::ostringstream out;
  CsvWriter csv{out, {"a", "b"}};
  const auto error = error_of([&] { csv.row(1); });
  CHECK(error.code() == ErrorCode::argument);
  CHECK(error.what() == "CSV row: expected 2 fields, came 1"s);
  CHECK(error_of([&] { CsvWriter{out, {"a", "b"}}.row(1, 2, 3); }).came() == "3");
}
