// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <culprit/io/npy.hpp>

#include "io/error_of.hpp"
#include "io/little_endian.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using culprit::ErrorCode;
using culprit::io::Dtype;
using culprit::io::read_npy;
using culprit::io::TensorView;
using culprit::io::view_of;
using culprit::io::write_npy;
using culprit::test::error_of;
using culprit::test::little_endian;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;
using culprit::test::write_bytes;
using namespace std::string_literals;

namespace {

std::string npy_file(const std::string& header, std::size_t data_bytes) {
  return "\x93NUMPY\x01\x00"s + little_endian(header.size(), 2) + header + std::string(data_bytes, '\0');
}

}  // namespace

TEST_CASE("an npy file has the documented bytes", "[io]") {
  const TemporaryFolder folder;
  const std::vector<float> values{1.0F, -2.0F};
  write_npy(folder / "f.npy", view_of<float>(values, {2}));
  const auto header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"s;
  CHECK(read_bytes(folder / "f.npy") == "\x93NUMPY\x01\x00\x76\x00"s + header +
                                            std::string(117 - header.size(), ' ') +
                                            "\n\0\0\x80\x3f\0\0\0\xc0"s);
  const auto text_of = [&](const TensorView& tensor) {
    write_npy(folder / "x.npy", tensor);
    const std::string bytes = read_bytes(folder / "x.npy");
    CHECK((bytes.size() - tensor.data.size()) % 64 == 0);
    const auto begin = bytes.find('{');
    return bytes.substr(begin, bytes.find('}') + 1 - begin);
  };
  CHECK(text_of(view_of<float>(values, {2, 1})) ==
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }");
  CHECK(text_of(view_of<float>(std::span{values}.first(1), {})) ==
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
  CHECK(text_of(view_of<std::uint8_t>({}, {3, 0})) ==
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 0), }");
}

TEST_CASE("an npy file gives back type, shape and values", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  const std::vector<std::int64_t> values{1, -2, 3, 4, 5, INT64_MIN};
  const auto words = std::as_bytes(std::span{values});
  for (const Dtype dtype : {Dtype::Bool, Dtype::U8, Dtype::I8, Dtype::U16, Dtype::I16, Dtype::F16, Dtype::U32,
                            Dtype::I32, Dtype::F32, Dtype::U64, Dtype::I64, Dtype::F64}) {
    CAPTURE(name_of(dtype));
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{}, {1}, {6}, {2, 3}, {1, 3, 1, 2}, {0}, {5, 0}}) {
      std::size_t count = 1;
      for (const auto extent : shape) count *= static_cast<std::size_t>(extent);
      write_npy(path, {dtype, shape, words.first(count * size_of(dtype))});
      const auto array = read_npy(path);
      CHECK(array.dtype == dtype);
      CHECK(array.shape == shape);
      CHECK(std::equal(array.data.begin(), array.data.end(), words.begin(),
                       words.begin() + std::ssize(array.data)));
      CHECK(array.data.size() == count * size_of(dtype));
    }
  }
  write_npy(path, view_of<std::int64_t>(values, {3, 2}));
  CHECK(read_npy(path).values<std::int64_t>()[5] == INT64_MIN);
  CHECK(error_of([&] { (void)read_npy(path).values<double>(); }).what() ==
        "npy array: expected F64 values, came I64"s);
}

TEST_CASE("npy headers of all three versions are read however Python spaces them", "[io]") {
  using culprit::io::parse_npy;
  const auto header = "{ \"shape\":(2,3),'descr' : '<i2','fortran_order':False}\n"s;
  const std::string data(12, '\x01');
  for (const auto& array :
       {parse_npy(npy_file(header, 0) + data, "FILE"),
        parse_npy("\x93NUMPY\x02\x00"s + little_endian(header.size(), 4) + header + data, "FILE"),
        parse_npy("\x93NUMPY\x03\x00"s + little_endian(header.size(), 4) + header + data, "FILE")}) {
    CHECK(array.dtype == Dtype::I16);
    CHECK(array.shape == std::vector<std::int64_t>{2, 3});
    CHECK(array.values<std::int16_t>()[5] == 0x0101);
  }
}

TEST_CASE("an npy file from a stranger is refused at the byte that is wrong", "[io]") {
  struct Case {
    std::string bytes;
    ErrorCode code;
    std::string sentence;
  };
  const auto format = ErrorCode::format;
  const auto with_descr = [](const std::string& descr) {
    return npy_file("{'descr': " + descr + ", 'fortran_order': False, 'shape': (2,), }", 2);
  };
  const auto with_shape = [](const std::string& shape) {
    return npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }", 2);
  };
  std::string dimensions = "(";
  for (int i = 0; i < 65; ++i) dimensions += "1,";
  const std::string keys = "the keys descr, fortran_order and shape";
  const std::string types = "|b1, |u1, |i1, <u2 to <u8, <i2 to <i8, or <f2 to <f8";
  const std::vector<Case> cases{
      {"", format, "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"\""},
      {"\x93NUMPX\x01\x00"s, format,
       "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"\\x93NUMPX\""},
      {"PK\x03\x04", format,
       "byte 0: expected \\x93NUMPY, the first bytes of an npy file, came \"PK\\x03\\x04\""},
      {"\x93NUMPY", format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\""},
      {"\x93NUMPY\x01", format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x01\""},
      {"\x93NUMPY\x04\x00\x00\x00"s, format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x04\\x00\""},
      {"\x93NUMPY\x01\x01\x00\x00"s, format, "byte 6: expected version 1.0, 2.0 or 3.0, came \"\\x01\\x01\""},
      {"\x93NUMPY\x01\x00\x00"s, format, "byte 8: expected the header's length, came the end of the file"},
      {"\x93NUMPY\x02\x00\x00\x00\x00"s, format,
       "byte 8: expected the header's length, came the end of the file"},
      {"\x93NUMPY\x01\x00\x03\x00{}"s, format, "byte 8: expected a header of at most 2 bytes, came 3"},
      {"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"s, format,
       "byte 8: expected a header of at most 2 bytes, came 4294967295"},
      {npy_file("", 0), format, "byte 10: expected '{', came the end of the header, or byte 0"},
      {npy_file("[]", 0), format, "byte 10: expected '{', came \"[\""},
      {npy_file("{}", 0), format, "byte 10: expected " + keys + ", came no descr"},
      {npy_file("{'descr': '|u1', 'fortran_order': False}", 0), format,
       "byte 10: expected " + keys + ", came no shape"},
      {npy_file("{'descr': '|u1', 'shape': (0,)}", 0), format,
       "byte 10: expected " + keys + ", came no fortran_order"},
      {npy_file("{'descr': '|u1', 'descr': '|u1'}", 0), format,
       "byte 27: expected " + keys + ", each once, came \"descr\""},
      {npy_file("{'shape': (1,), 'shape': (2,)}", 0), format,
       "byte 26: expected " + keys + ", each once, came \"shape\""},
      {npy_file("{'fortran_order': False, 'fortran_order': False}", 0), format,
       "byte 35: expected " + keys + ", each once, came \"fortran_order\""},
      {npy_file("{'evil': 1}", 0), format, "byte 11: expected " + keys + ", each once, came \"evil\""},
      {npy_file("{descr: 1}", 0), format, "byte 11: expected a string in quotes, came \"d\""},
      {npy_file("{'descr", 0), format, "byte 11: expected a string that ends, came none"},
      {npy_file("{'descr' '|u1'}", 0), format, "byte 19: expected ':', came \"'\""},
      {npy_file("{'descr': '|u1' 'shape': (1,)}", 0), format, "byte 26: expected ',' or '}', came \"'\""},
      {npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), } x", 2), format,
       "byte 68: expected the end of the header, came \"x\""},
      {npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), ", 2), format,
       "byte 66: expected a string in quotes, came the end of the header, or byte 0"},
      {with_descr("'>f8'"), ErrorCode::dtype, "byte 20: expected little-endian elements, came \">f8\""},
      {with_descr("'<c16'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"<c16\""},
      {with_descr("'|O'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"|O\""},
      {with_descr("'<V2'"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"<V2\""},
      {with_descr("''"), ErrorCode::dtype, "byte 20: expected " + types + ", came \"\""},
      {with_descr("[('x', '<f4')]"), ErrorCode::dtype,
       "byte 20: expected one element type, came a structure"},
      {with_descr("1"), format, "byte 20: expected a string in quotes, came \"1\""},
      {npy_file("{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }", 2), format,
       "byte 44: expected an array in C order, came fortran_order True"},
      {npy_file("{'descr': '|u1', 'fortran_order': 0, 'shape': (2,), }", 2), format,
       "byte 44: expected True or False, came \"0\""},
      {with_shape("2"), format, "byte 60: expected '(', came \"2\""},
      {with_shape("(2)"), format, "byte 62: expected ',', came \")\""},
      {with_shape("(1 2)"), format, "byte 63: expected ',', came \"2\""},
      {with_shape("(,)"), format, "byte 61: expected an extent from 0 to 2^63 - 1, came \",\""},
      {with_shape("(-2,)"), format, "byte 61: expected an extent from 0 to 2^63 - 1, came \"-\""},
      {with_shape("(2.0,)"), format, "byte 62: expected ',', came \".\""},
      {with_shape("(2L,)"), format, "byte 62: expected ',', came \"L\""},
      {with_shape("(9223372036854775808,)"), format,
       "byte 61: expected an extent from 0 to 2^63 - 1, came \"9\""},
      {with_shape("(2,"), format, "byte 63: expected an extent from 0 to 2^63 - 1, came \",\""},
      {with_shape(dimensions + ")"), format, "byte 189: expected at most 64 dimensions, came more"},
      {with_shape("(3037000500, 3037000500)"), format,
       "byte 87: expected a size that memory holds for U8 of shape [3037000500, 3037000500], came 2 bytes"},
      {with_shape("(0, 4611686018427387904, 4)"), format,
       "byte 90: expected a size that memory holds for U8 of shape [0, 4611686018427387904, 4], came 2 "
       "bytes"},
      {with_shape("(1000000000000,)"), format,
       "byte 79: expected 1000000000000 bytes for U8 of shape [1000000000000], came 2 bytes"},
      {with_shape("(1,)"), format, "byte 67: expected 1 bytes for U8 of shape [1], came 2 bytes"},
      {with_shape("(3,)"), format, "byte 67: expected 3 bytes for U8 of shape [3], came 2 bytes"},
  };
  const TemporaryFolder folder;
  const auto path = folder / "hostile";
  for (const Case& hostile : cases) {
    write_bytes(path, hostile.bytes);
    CAPTURE(hostile.bytes);
    const auto error = error_of([&] { read_npy(path); });
    CHECK(error.code() == hostile.code);
    CHECK(error.what() == path.string() + ", " + hostile.sentence);
  }
}

TEST_CASE("an npy file is not written from what NumPy cannot hold", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  const std::vector<std::uint16_t> values(2);
  const auto bytes = std::as_bytes(std::span{values});
  CHECK(error_of([&] {
          write_npy(path, {Dtype::BF16, {2}, bytes});
        }).what() == path.string() + ": expected an element type that NumPy has, came BF16");
  CHECK(error_of([&] { write_npy(path, {Dtype::U16, {3}, bytes}); }).code() == ErrorCode::shape);
  std::vector<std::int64_t> shape(65, 1);
  shape[0] = 2;
  CHECK(error_of([&] { write_npy(path, {Dtype::U16, shape, bytes}); }).code() == ErrorCode::shape);
  CHECK(folder.entries() == 0);
}
