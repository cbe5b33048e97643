// Forms as clients send them are read; what two readers could see differently is refused.
#include "dialect/multipart.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::dialect {
namespace {

std::string Part(std::string_view head, std::string_view content) {
  return "--b0\r\n" + std::string(head) + "\r\n\r\n" + std::string(content) + "\r\n";
}
std::string Field(std::string_view name, std::string_view content) {
  return Part("Content-Disposition: form-data; name=\"" + std::string(name) + "\"", content);
}

TEST(Multipart, PartsAreStretchesOfTheBody) {
  const std::string body = Field("model", "m1") +
                           Part(
                               "content-disposition: form-data; name=file; filename=\"a b.wav\"\r\n"
                               "CONTENT-TYPE: audio/wav",
                               std::string("\r\n--b\r\n--b\0\r\n", 13)) +
                           "--b0--\r\n";
  const auto parts = ReadMultipart("b0", body);
  ASSERT_TRUE(parts) << parts.error();
  ASSERT_EQ(parts->size(), 2U);
  const auto content = [&](std::size_t i) {
    return body.substr((*parts)[i].content.at, (*parts)[i].content.length);
  };
  EXPECT_EQ((*parts)[0].name, "model");
  EXPECT_FALSE((*parts)[0].is_file);
  EXPECT_EQ(content(0), "m1");
  EXPECT_EQ((*parts)[1].name, "file");
  EXPECT_TRUE((*parts)[1].is_file);
  EXPECT_EQ((*parts)[1].file_name, "a b.wav");
  EXPECT_EQ((*parts)[1].content_type, "audio/wav");
  EXPECT_EQ(content(1), std::string("\r\n--b\r\n--b\0\r\n", 13));
}

struct Row {
  const char* why;
  std::string body;
  const char* refused;  // a piece of the sentence; null: it is taken
};

TEST(Multipart, WhatIsTaken_AndWhatIsRefused) {
  const std::string m = Field("model", "m");
  const std::string end = "--b0--\r\n";
  const Row rows[] = {
      {"a form", m + end, nullptr},
      {"no line end behind the last boundary", m + "--b0--", nullptr},
      {"space behind a boundary", "--b0 \t\r\n" + m.substr(6) + end, nullptr},
      {"an empty part", Field("prompt", "") + end, nullptr},
      {"no part", "--b0--\r\n", nullptr},
      {"names in brackets twice", Field("languages[]", "en") + Field("languages[]", "de") + end,
       nullptr},
      {"an escaped quote",
       Part(R"(Content-Disposition: form-data; name="f"; filename="a\".wav")", "x") + end, nullptr},
      {"a Windows path",
       Part(R"(Content-Disposition: form-data; name="f"; filename="C:\a\")", "x") + end,
       "no well-formed"},
      {"a wide file name",
       Part("Content-Disposition: form-data; name=\"f\"; filename*=utf-8''%C3%BC.wav", "x") + end,
       nullptr},
      {"binary",
       Part("Content-Disposition: form-data; name=\"f\"\r\nContent-Transfer-Encoding: binary",
            "x") +
           end,
       nullptr},
      {"nothing", "", "does not begin"},
      {"text before", "hello\r\n" + m + end, "does not begin"},
      {"a line end before", "\r\n" + m + end, "does not begin"},
      {"text behind", m + end + "x", "goes on behind"},
      {"another boundary", "--b1\r\n" + m.substr(6) + end, "does not begin"},
      {"a longer boundary", "--b0x\r\n" + m.substr(6) + end, "only begins like"},
      {"a line like a boundary", Field("file", "\r\n--b0x") + end, "only begins like"},
      {"bare line feeds", "--b0\nContent-Disposition: form-data; name=\"f\"\n\nx\n--b0--\n",
       "only begins like"},
      {"no last boundary", m, "before its last boundary"},
      {"cut in a part", m.substr(0, m.size() - 2), "before its last boundary"},
      {"cut in a head", "--b0\r\nContent-Disposition: form-data; name=\"f\"\r\n", "without an end"},
      {"no headers", "--b0\r\n\r\nx\r\n" + end, "without an end"},
      {"no disposition", Part("Content-Type: text/plain", "x") + end, "no Content-Disposition"},
      {"two dispositions",
       Part("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
            "name=\"b\"",
            "x") +
           end,
       "no well-formed"},
      {"two names", Part("Content-Disposition: form-data; name=\"a\"; name=\"b\"", "x") + end,
       "no well-formed"},
      {"no name", Part("Content-Disposition: form-data", "x") + end, "no well-formed"},
      {"an empty name", Field("", "x") + end, "no well-formed"},
      {"a wide name", Part("Content-Disposition: form-data; name=\"a\"; name*=utf-8''b", "x") + end,
       "no well-formed"},
      {"an open quote", Part("Content-Disposition: form-data; name=\"a", "x") + end,
       "no well-formed"},
      {"an attachment", Part("Content-Disposition: attachment; name=\"a\"", "x") + end,
       "no well-formed"},
      {"a name as long as can be", Field(std::string(256, 'n'), "x") + end, nullptr},
      {"and one byte longer", Field(std::string(257, 'n'), "x") + end, "no well-formed"},
      {"a folded header", Part("Content-Disposition: form-data;\r\n name=\"a\"", "x") + end,
       "no well-formed"},
      {"a control character",
       Part("Content-Disposition: form-data; name=\"a\"\r\nX: \x01", "x") + end,
       "malformed header"},
      {"a bare line feed in a head",
       Part("Content-Disposition: form-data; name=\"a\"\nX: 1", "x") + end, "malformed header"},
      {"a space before the colon", Part("Content-Disposition : form-data; name=\"a\"", "x") + end,
       "malformed header"},
      {"a form in a form",
       Part("Content-Disposition: form-data; name=\"a\"\r\nContent-Type: Multipart/Mixed; "
            "boundary=c",
            "x") +
           end,
       "multipart itself"},
      {"an encoded part",
       Part("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
            "eA==") +
           end,
       "transfer encoding"},
      {"a name twice", m + m + end, "was there before"},
      {"a head as long as can be",
       Part("Content-Disposition: form-data; name=\"a\"\r\nX: " + std::string(16384 - 4 - 45, 'x'),
            "x") +
           end,
       nullptr},
      {"and one byte longer",
       Part("Content-Disposition: form-data; name=\"a\"\r\nX: " + std::string(16384 - 4 - 44, 'x'),
            "x") +
           end,
       "16384 bytes"},
  };
  for (const Row& row : rows) {
    const auto parts = ReadMultipart("b0", row.body);
    EXPECT_EQ(parts.has_value(), row.refused == nullptr)
        << row.why << ": " << (parts ? "" : parts.error());
    if (parts || row.refused == nullptr) continue;
    EXPECT_NE(parts.error().find(row.refused), std::string::npos)
        << row.why << ": " << parts.error();
  }
}

TEST(Multipart, SixtyFourParts_AndNotOneMore) {
  std::string body;
  for (int i = 0; i < 64; ++i) body += Field("a[]", "x");
  EXPECT_TRUE(ReadMultipart("b0", body + "--b0--"));
  EXPECT_FALSE(ReadMultipart("b0", body + Field("a[]", "x") + "--b0--"));
}

TEST(Multipart, Boundaries) {
  const std::string longest(70, 'x');
  struct {
    std::string type;
    const char* boundary;  // null: there is none
  } const rows[] = {
      {"multipart/form-data; boundary=abc", "abc"},
      {"Multipart/Form-Data ; charset=utf-8; Boundary=abc", "abc"},
      {"multipart/form-data; boundary=\"a b\"", "a b"},
      {"multipart/form-data;boundary=abc;", "abc"},
      {"multipart/form-data; boundary=" + longest, longest.c_str()},
      {"multipart/form-data; boundary=" + longest + "x", nullptr},
      {"multipart/form-data; boundary=abc; boundary=abc", nullptr},
      {"multipart/form-data; boundary=", nullptr},
      {"multipart/form-data; boundary=\"\"", nullptr},
      {"multipart/form-data; boundary=\"a \"", nullptr},
      {"multipart/form-data; boundary=\"a\\\"b\"", nullptr},
      {"multipart/form-data; boundary=\"abc", nullptr},
      {"multipart/form-data; boundary=a[b", nullptr},
      {"multipart/form-data", nullptr},
      {"multipart/form-data, boundary=a", nullptr},
      {"multipart/mixed; boundary=a", nullptr},
      {"application/json", nullptr},
      {"", nullptr},
  };
  for (const auto& row : rows) {
    const auto boundary = BoundaryOf(row.type);
    EXPECT_EQ(boundary.has_value(), row.boundary != nullptr) << row.type;
    if (boundary && row.boundary != nullptr) EXPECT_EQ(*boundary, row.boundary);
  }
}

// Many near misses of a long boundary: a quadratic search would take minutes here.
TEST(Multipart, NearBoundaries_CostNoMoreThanTheirBytes) {
  const std::string boundary(70, '-');
  std::string body = "--" + boundary + "\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n";
  for (int i = 0; i < 300'000; ++i) body += "\r\n" + std::string(71, '-');
  const std::string close = "\r\n--" + boundary + "--";
  const auto parts = ReadMultipart(boundary, body + close);
  ASSERT_TRUE(parts) << parts.error();
  EXPECT_EQ(parts->front().content.length, 300'000U * 73);
}

}  // namespace
}  // namespace weir::dialect
