// The forms of single values: what is read, to the last digit, and what is refused.
#include "config/scalar.h"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(ParseCount, OnlyPlainWholeNumbers) {
  EXPECT_EQ(ParseCount("0"), 0);
  EXPECT_EQ(ParseCount("42"), 42);
  EXPECT_EQ(ParseCount("-7"), -7);
  EXPECT_EQ(ParseCount("9223372036854775807"), INT64_MAX);
  for (const auto* bad : {"", "-", "+1", "1.0", "1e3", "0x10", "1_000", "01", "00", " 1", "1 ",
                          "9223372036854775808", "nan", "--1"}) {
    EXPECT_EQ(ParseCount(bad), std::nullopt) << bad;
  }
}

TEST(ParseBytes, UnitsArePowersOfTwo) {
  EXPECT_EQ(ParseBytes("0"), 0);
  EXPECT_EQ(ParseBytes("4096"), 4096);
  EXPECT_EQ(ParseBytes("4096B"), 4096);
  EXPECT_EQ(ParseBytes("64KiB"), 65536);
  EXPECT_EQ(ParseBytes("32MiB"), 33554432);
  EXPECT_EQ(ParseBytes("1GiB"), 1073741824);
  for (const auto* bad : {"", "KiB", "1KB", "1kib", "1 KiB", "1.5MiB", "-1KiB", "8589934592GiB"}) {
    EXPECT_EQ(ParseBytes(bad), std::nullopt) << bad;
  }
}

TEST(ParseDuration, TheUnitIsPartOfTheValue) {
  EXPECT_EQ(ParseDuration("0")->ns, 0);
  EXPECT_EQ(ParseDuration("7us")->ns, 7'000);
  EXPECT_EQ(ParseDuration("250ms"), Milliseconds(250));
  EXPECT_EQ(ParseDuration("5s"), Seconds(5));
  EXPECT_EQ(ParseDuration("30m"), Minutes(30));
  EXPECT_EQ(ParseDuration("2h"), Minutes(120));
  EXPECT_EQ(ParseDuration("7d"), Minutes(7 * 24 * 60));
  for (const auto* bad : {"", "5", "s", "5 s", "1.5s", "-5s", "5sec", "1m30s", "5S",
                          "9223372036854775807s", "2562048h"}) {
    EXPECT_EQ(ParseDuration(bad), std::nullopt) << bad;
  }
}

TEST(ParseTime, DatesAndRfc3339) {
  struct Case {
    const char* text;
    std::int64_t ns;
  };
  const Case cases[] = {
      {"1970-01-01", 0},
      {"2000-02-29", 951'782'400'000'000'000},
      {"2027-01-31T12:00:00Z", 1'801'396'800'000'000'000},
      {"2027-01-31T12:00:00.5Z", 1'801'396'800'500'000'000},
      {"2027-01-31T12:00:00.000000001Z", 1'801'396'800'000'000'001},
      {"2027-01-31T13:00:00+01:00", 1'801'396'800'000'000'000},
      {"2027-01-31 06:30:00-05:30", 1'801'396'800'000'000'000},
      {"2261-12-31T23:59:59.999999999Z", 9'214'646'399'999'999'999},
  };
  for (const Case& c : cases) {
    ASSERT_TRUE(ParseTime(c.text)) << c.text;
    EXPECT_EQ(ParseTime(c.text)->ns, c.ns) << c.text;
  }
  for (const auto* bad :
       {"", "2027", "2027-1-31", "2027-02-30", "2100-02-29", "2027-13-01", "1969-12-31",
        "2262-01-01", "2027-01-31T12:00:00", "2027-01-31T24:00:00Z", "2027-01-31T12:60:00Z",
        "2027-01-31T12:00:60Z", "2027-01-31T12:00:00.Z", "2027-01-31T12:00:00.1234567890Z",
        "2027-01-31T12:00:00+1:00", "2027-01-31T12:00:00+24:00", "2027-01-31T12:00:00Zx",
        "1970-01-01T00:00:00+01:00", "tomorrow"}) {
    EXPECT_EQ(ParseTime(bad), std::nullopt) << bad;
  }
}

TEST(FormatTime, IsReadBackTheSame) {
  for (const std::int64_t ns :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{951'782'400'500'000'000},
        std::int64_t{9'214'646'399'999'999'999}}) {
    EXPECT_EQ(ParseTime(FormatTime({ns}))->ns, ns) << FormatTime({ns});
  }
  EXPECT_EQ(FormatTime({951'782'400'500'000'000}), "2000-02-29T00:00:00.5Z");
}

TEST(ParseAddress, AnAddressAndAPort) {
  struct Case {
    const char* text;
    const char* host;
    int port;
  };
  const Case cases[] = {{"127.0.0.1:8080", "127.0.0.1", 8080},
                        {"0.0.0.0:0", "0.0.0.0", 0},
                        {"[::1]:443", "::1", 443},
                        {"[::]:65535", "::", 65535},
                        {"localhost:80", "127.0.0.1", 80},
                        {"[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1}};
  for (const Case& c : cases) {
    const auto listen = ParseAddress(c.text);
    ASSERT_TRUE(listen) << c.text;
    EXPECT_EQ(listen->host, c.host);
    EXPECT_EQ(listen->port, c.port);
  }
  for (const auto* bad : {"",
                          "8080",
                          ":8080",
                          "127.0.0.1",
                          "127.0.0.1:",
                          "127.0.0.1:65536",
                          "127.0.0.1:-1",
                          "127.0.0.1:080",
                          "256.0.0.1:1",
                          "1.2.3:1",
                          "1.2.3.4.5:1",
                          "::1:80",
                          "[::1]",
                          "[::1:80",
                          "[1::2::3]:80",
                          "[:::]:80",
                          "[12345::]:80",
                          "[1:2:3:4:5:6:7]:80",
                          "[1:2:3:4:5:6:7:8:9]:80",
                          "[::1%eth0]:80",
                          "example.com:80",
                          "[]:80",
                          "*:80",
                          "127.0.0.1:8080 "}) {
    EXPECT_FALSE(ParseAddress(bad)) << bad;
  }
}

TEST(ParseUrl, PartsOfAGoodOne) {
  struct Case {
    const char* text;
    bool tls;
    const char* host;
    int port;
    const char* path;
  };
  const Case cases[] = {
      {"https://api.openai.com/v1", true, "api.openai.com", 443, "/v1"},
      {"https://api.openai.com/v1/", true, "api.openai.com", 443, "/v1"},
      {"https://API.OpenAI.com", true, "api.openai.com", 443, ""},
      {"http://127.0.0.1:9090/", false, "127.0.0.1", 9090, ""},
      {"http://localhost/openai/v1", false, "localhost", 80, "/openai/v1"},
      {"https://[::1]:8443/v1", true, "::1", 8443, "/v1"},
      {"http://my_service-1.local/a.b/c~d", false, "my_service-1.local", 80, "/a.b/c~d"},
  };
  for (const Case& c : cases) {
    const auto url = ParseUrl(c.text);
    ASSERT_TRUE(url) << c.text;
    EXPECT_EQ(url->tls, c.tls) << c.text;
    EXPECT_EQ(url->host, c.host) << c.text;
    EXPECT_EQ(url->port, c.port) << c.text;
    EXPECT_EQ(url->path, c.path) << c.text;
    const auto again = ParseUrl(FormatUrl(*url));
    ASSERT_TRUE(again) << c.text;
    EXPECT_EQ(FormatUrl(*again), FormatUrl(*url));
  }
}

TEST(ParseUrl, AnythingThatCouldMeanTwoThings_IsRefused) {
  for (const auto* bad : {"",
                          "api.openai.com/v1",
                          "ftp://a.com",
                          "HTTPS://a.com",
                          "https:/a.com",
                          "https://",
                          "https:///v1",
                          "https://user@a.com",
                          "https://user:pw@a.com",
                          "https://a.com?x=1",
                          "https://a.com/v1?x=1",
                          "https://a.com/v1#f",
                          "https://a.com:0",
                          "https://a.com:",
                          "https://a.com:99999",
                          "https://a.com:8o",
                          "https://a..com",
                          "https://.a.com",
                          "https://a.com./v1",
                          "https://-a.com",
                          "https://a-.com",
                          "https://a.com/../v1",
                          "https://a.com/v1/..",
                          "https://a.com/./v1",
                          "https://a.com//v1",
                          "https://a.com/v1//",
                          "https://a.com/%2e%2e",
                          "https://a.com/a b",
                          "https://a b.com",
                          "https://a.com\r\nX: 1",
                          "https://a.com/v1\n",
                          "https://[::1",
                          "https://[::1]x",
                          "https://[nonsense]/",
                          "https://127.0.0.256",
                          "https://0x7f.1",
                          "https://2130706433",
                          "https://a.com\\@b.com"}) {
    EXPECT_FALSE(ParseUrl(bad)) << bad;
  }
}

TEST(ParseLocalTime, IsWhatAClockShows) {
  struct Case {
    const char* text;
    std::int64_t seconds;
    const char* shortest;
  };
  const Case cases[] = {
      {"1970-01-01", 0, "1970-01-01T00:00"},
      {"2026-01-31T09:05", 1'769'850'300, "2026-01-31T09:05"},
      {"2026-01-31 09:05:07", 1'769'850'307, "2026-01-31T09:05:07"},
      {"2024-02-29", 1'709'164'800, "2024-02-29T00:00"},
      {"1969-12-31T23:59:59", -1, "1969-12-31T23:59:59"},
      {"1900-01-01", -2'208'988'800, "1900-01-01T00:00"},
      {"2261-12-31T23:59", 9'214'646'340, "2261-12-31T23:59"},
  };
  for (const Case& c : cases) {
    const auto seconds = ParseLocalTime(c.text);
    ASSERT_TRUE(seconds) << c.text;
    EXPECT_EQ(*seconds, c.seconds) << c.text;
    EXPECT_EQ(FormatLocalTime(*seconds), c.shortest);
  }
  for (const char* bad :
       {"", "2026", "2026-1-1", "2026-02-29", "2026-13-01", "2026-01-31T", "2026-01-31T9:00",
        "2026-01-31T24:00", "2026-01-31T09", "2026-01-31T09:60", "2026-01-31T09:00:60",
        "2026-01-31T09:00Z", "2026-01-31T09:00+01:00", "2026-01-31T09:00:00.5", "1899-12-31",
        "2262-01-01", " 2026-01-31", "2026-01-31 "}) {
    EXPECT_FALSE(ParseLocalTime(bad)) << bad;
  }
}

TEST(Format, ShortestExactForm) {
  EXPECT_EQ(FormatBytes(0), "0");
  EXPECT_EQ(FormatBytes(1000), "1000");
  EXPECT_EQ(FormatBytes(1024), "1KiB");
  EXPECT_EQ(FormatBytes(32 << 20), "32MiB");
  EXPECT_EQ(FormatDuration(Seconds(75)), "75s");
  EXPECT_EQ(FormatDuration(Seconds(600)), "10m");
  EXPECT_EQ(FormatDuration(Milliseconds(1500)), "1500ms");
  EXPECT_EQ(FormatDuration(Minutes(24 * 60)), "24h");
  EXPECT_EQ(FormatDuration(Minutes(7 * 24 * 60)), "7d");
  EXPECT_EQ(FormatDuration(Minutes(36 * 60)), "36h");
  EXPECT_EQ(FormatUsdPerMillion({2'500'000}), "2.50");
  EXPECT_EQ(FormatUsdPerMillion({175'000}), "0.175");
  EXPECT_EQ(FormatUsdPerMillion({1}), "0.000001");
  EXPECT_EQ(FormatUsdPerMillion({0}), "0.00");
  EXPECT_EQ(FormatAddress({"::1", 80}), "[::1]:80");
}

TEST(ParseProxy, IsAPlainAddressWithAPort) {
  struct Case {
    const char* text;
    const char* want;  // null: none
  };
  const Case cases[] = {
      {"http://10.0.0.1:3128", "http://10.0.0.1:3128"},
      {"http://Proxy.Example:80/", "http://proxy.example:80"},
      {"http://[::1]:1", "http://[::1]:1"},
      {"http://proxy.example", nullptr},  // port 80 is no guess anyone means
      {"http://[::1]", nullptr},
      {"https://proxy.example:443", nullptr},
      {"http://user:secret@proxy.example:80", nullptr},
      {"http://proxy.example:0", nullptr},
      {"http://proxy.example:65536", nullptr},
      {"http://proxy.example:80/path", nullptr},
      {"socks5://proxy.example:80", nullptr},
      {"proxy.example:80", nullptr},
      {"http://:80", nullptr},
      {"", nullptr},
  };
  for (const Case& c : cases) {
    const auto proxy = ParseProxy(c.text);
    ASSERT_EQ(proxy.has_value(), c.want != nullptr) << c.text;
    if (proxy) EXPECT_EQ(FormatProxy(*proxy), c.want);
  }
}

}  // namespace
}  // namespace weir::config
