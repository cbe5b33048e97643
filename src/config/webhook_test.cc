// Where a webhook goes, and with which keys it is signed.
#include "config/webhook.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::config {
namespace {

TEST(WebhookUrl, KeepsPathAndQueryAsWritten) {
  struct Case {
    std::string_view text;
    WebhookUrl url;
    std::string_view origin;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"https://hooks.example.com/a/b",
            {true, "hooks.example.com", 443, "/a/b"},
            "https://hooks.example.com"},
           {"https://hooks.example.com",
            {true, "hooks.example.com", 443, "/"},
            "https://hooks.example.com"},
           {"https://Hooks.Example.com:8443/Catch/1/",
            {true, "hooks.example.com", 8443, "/Catch/1/"},
            "https://hooks.example.com:8443"},
           {"https://h.example.com?sig=a%2Fb&x",
            {true, "h.example.com", 443, "/?sig=a%2Fb&x"},
            "https://h.example.com"},
           {"https://h.example.com/x//y/../z",
            {true, "h.example.com", 443, "/x//y/../z"},
            "https://h.example.com"},
           {"http://127.0.0.1:9000/in", {false, "127.0.0.1", 9000, "/in"}, "http://127.0.0.1:9000"},
           {"http://[::1]:9000/in", {false, "::1", 9000, "/in"}, "http://[::1]:9000"},
       }) {
    const auto url = ParseWebhookUrl(c.text);
    ASSERT_TRUE(url.has_value()) << c.text;
    EXPECT_EQ(*url, c.url) << c.text;
    EXPECT_EQ(OriginText(*url), c.origin);
  }
}

TEST(WebhookUrl, WhatIsNoneOrCouldBeReadInTwoWays_IsRefused) {
  for (const std::string& text : std::vector<std::string>{
           "", "hooks.example.com", "ftp://h.example.com/", "https://", "https:///x",
           "https://user@h.example.com/", "https://user:pass@h.example.com/",
           "https://h.example.com/a b", "https://h.example.com/\\evil",
           "https://h.example.com\\@x/", "https://h.example.com/#part", "https://h.example.com:0/",
           "https://h.example.com:99999/", "https://h.example.com/\r\nx: y",
           "https://h.example.com/\xC3\xA9", "https://[::1/", "https://h_e.example.com:/",
           "https://h.example.com/" + std::string(2048, 'a')}) {
    EXPECT_FALSE(ParseWebhookUrl(text).has_value()) << text;
  }
}

TEST(WebhookSecret, GivesTheBytes_OfOneKeyOrTwo) {
  // 24 bytes of zero, and 32 with every bit set: base64 with and without its padding.
  const std::string zeros = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const std::string ones = "whsec_//////////////////////////////////////////8=";
  auto keys = ParseWebhookSecret(zeros);
  ASSERT_TRUE(keys.has_value());
  EXPECT_EQ(*keys, std::vector<std::string>{std::string(24, '\0')});
  keys = ParseWebhookSecret(ones + " " + zeros);
  ASSERT_TRUE(keys.has_value());
  EXPECT_EQ(*keys, (std::vector<std::string>{std::string(32, '\xFF'), std::string(24, '\0')}));
  EXPECT_TRUE(ParseWebhookSecret(ones.substr(0, ones.size() - 1)).has_value());
  // The reference libraries' example.
  keys = ParseWebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  ASSERT_TRUE(keys.has_value());
  EXPECT_EQ(keys->front().size(), 24U);
}

TEST(WebhookSecret, AWeakOrBrokenOne_IsRefused) {
  const std::string good = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const std::string longest(64 * 4 / 3 + 2, 'A');  // 64 bytes and a bit more than none
  ASSERT_TRUE(ParseWebhookSecret("whsec_" + std::string(86, 'A')).has_value());
  for (const std::string& text : std::vector<std::string>{
           "", "whsec_", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_AAAA",
           "whsec_" + std::string(31, 'A'),           // 23 bytes
           "whsec_" + std::string(87, 'A'),           // 65 bytes
           "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-",  // the other alphabet
           "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", good + "A", good + "=A",
           "whsec_//////////////////////////////////////////9=",  // bits behind the last byte
           good + " ", " " + good, good + "  " + good, good + "," + good,
           good + " " + good + " " + good}) {
    EXPECT_FALSE(ParseWebhookSecret(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace weir::config
