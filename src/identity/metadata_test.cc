#include "identity/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/attribute.h"
#include "identity/fuzz_entry.h"

namespace weir::identity {
namespace {

using config::Dimension;
using fuzz::Header;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Instant kNow{1'800'000'000'000'000'000};
const Secret kSecret("wmeta_0123456789abcdef0123456789abcdef");

KeyRecord Key() {
  KeyRecord key;
  key.name = "storefront";
  key.attributes = {{Dimension::kTeam, "growth"}, {Dimension::kUser, "nobody"}};
  key.metadata = config::BitOf(Dimension::kUser) | config::BitOf(Dimension::kCustomerTier);
  return key;
}

std::expected<RequestMetadata, MetadataFault> Read(const std::vector<Header>& headers,
                                                   const Secret& secret = kSecret,
                                                   std::string_view prefix = "x-weir") {
  return ReadMetadata(Key(), prefix, headers, secret, kNow);
}

// "team=growth user=alice" or the fault's header and message.
std::string Shown(const std::expected<RequestMetadata, MetadataFault>& read) {
  if (!read) return read.error().header + ": " + read.error().message;
  std::string out;
  for (const auto& [dimension, value] : read->attributes) {
    if (!out.empty()) out += ' ';
    out += std::string(Name(dimension)) + "=" + value;
  }
  if (!read->action.empty()) out += " action=" + read->action;
  return out;
}

std::string Signed(std::string_view json) {
  return Shown(Read({{"x-weir-metadata", SignMetadata(json, kSecret)}}));
}

TEST(Metadata, WithoutAHeader_IsWhatTheKeySays) {
  EXPECT_EQ(Shown(Read({})), "team=growth user=nobody");
  EXPECT_EQ(Shown(Read({{"accept", "*/*"},
                        {"x-weir", "alice"},
                        {"x-weir-", "alice"},
                        {"x-weird-user", "alice"},
                        {"x-other-user", "alice"},
                        {"x-weir-user-name", "alice"},
                        {"x-weir-usr", "alice"},
                        {"xx-weir-user", "alice"},
                        {"x-weir-charged-nano-usd", "1"}})),
            "team=growth user=nobody");
}

TEST(Metadata, WhatTheKeyAllows_CountsForTheRequest) {
  EXPECT_EQ(Shown(Read({{"x-weir-user", "alice"}})), "team=growth user=alice");
  EXPECT_EQ(Shown(Read({{"X-WEIR-Customer-Tier", "gold level"}, {"X-Weir-User", "bob"}})),
            "team=growth user=bob customer_tier=gold level");
  EXPECT_EQ(Shown(Read({{"x-weir-customer_tier", "gold"}})),
            "team=growth user=nobody customer_tier=gold");
  EXPECT_EQ(Shown(Read({{"x-qta-user", "alice"}, {"x-weir-user", "bob"}}, kSecret, "x-qta")),
            "team=growth user=alice");
}

// A dimension that silently did not arrive would be a policy that silently does not apply.
TEST(Metadata, WhatTheKeyDoesNotAllow_IsRefusedByName) {
  EXPECT_EQ(Shown(Read({{"X-Weir-Team", "core"}})),
            "x-weir-team: Requests of this API key may not say their team; leave the header out, "
            "sign it (x-weir-metadata), or have team added to the metadata of the key");
  for (const auto dimension :
       {Dimension::kTeam, Dimension::kCustomer, Dimension::kWorkflow, Dimension::kFeature,
        Dimension::kEnvironment, Dimension::kCampaign, Dimension::kImageClass}) {
    const auto read =
        Read({{"x-weir-user", "alice"}, {"x-weir-" + std::string(Name(dimension)), "x"}});
    ASSERT_FALSE(read) << Name(dimension);
    EXPECT_THAT(read.error().message, HasSubstr("may not say"));
  }
  // Signed metadata beside it does not make it right.
  EXPECT_THAT(Shown(Read({{"x-weir-team", "core"},
                          {"x-weir-metadata",
                           SignMetadata(R"({"exp":1800000060,"team":"core"})", kSecret)}})),
              HasSubstr("may not say their team"));
}

TEST(Metadata, WhatTheGatewayKnows_CannotBeSaidByAnyKey) {
  KeyRecord key = Key();
  key.metadata = UINT32_MAX;
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    const auto dimension = static_cast<Dimension>(i);
    const std::vector<Header> headers = {{"x-weir-" + std::string(Name(dimension)), "x"}};
    const auto read = ReadMetadata(key, "x-weir", headers, kSecret, kNow);
    EXPECT_EQ(read.has_value(), (config::BitOf(dimension) & config::kAttributeBits) != 0)
        << Name(dimension);
    if (!read) {
      EXPECT_THAT(read.error().message, HasSubstr("the gateway knows it itself"));
    }
  }
}

TEST(Metadata, AValueThatCannotBeOne_IsRefusedAndNotRepeated) {
  for (const std::string& value :
       {std::string(), std::string(129, 'x'), std::string("caf\xc3\xa9"), std::string("a\tb")}) {
    const auto read = Read({{"x-weir-user", value}});
    ASSERT_FALSE(read) << value;
    EXPECT_EQ(read.error().header, "x-weir-user");
    if (!value.empty()) {
      EXPECT_THAT(read.error().message, Not(HasSubstr(value)));
    }
  }
}

TEST(Metadata, AHeaderThatIsThereTwice_IsRefused) {
  EXPECT_EQ(Shown(Read({{"x-weir-user", "alice"}, {"X-Weir-User", "alice"}})),
            "x-weir-user: The header is there twice; send it once");
  EXPECT_THAT(Shown(Read({{"x-weir-customer-tier", "a"}, {"x-weir-customer_tier", "b"}})),
              HasSubstr("x-weir-customer-tier: The header is there twice"));
  EXPECT_THAT(Shown(Read({{"x-weir-action-id", "a"}, {"x-weir-action-id", ""}})),
              HasSubstr("x-weir-action-id: The header is there twice"));
  EXPECT_THAT(Shown(Read({{"x-weir-metadata", "a"}, {"x-weir-metadata", "a"}})),
              HasSubstr("x-weir-metadata: The header is there twice"));
}

TEST(Metadata, AnAction_MayBeNamedByAnyKey) {
  EXPECT_EQ(Shown(Read({{"x-weir-action-id", "order-17/retry"}})),
            "team=growth user=nobody action=order-17/retry");
  EXPECT_EQ(Read({{"x-weir-action-id", std::string(128, 'x')}})->action.size(), 128U);
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("a b"),
                                std::string("\x7f"), std::string("caf\xc3\xa9")}) {
    EXPECT_THAT(Shown(Read({{"x-weir-action-id", id}})), HasSubstr("x-weir-action-id: The id"));
  }
}

TEST(Metadata, Signed_SetsWhatTheKeyDoesNotAllow) {
  EXPECT_EQ(Signed(R"({"exp":1800000060,"team":"core","workflow":"triage","image_class":"draft"})"),
            "team=core user=nobody workflow=triage image_class=draft");
  EXPECT_EQ(Signed(R"({ "user" : "\u0061lice" , "exp" : 1800000060 , "key" : "storefront" })"),
            "team=growth user=alice");
  EXPECT_EQ(Signed(R"({"exp":1800000060})"), "team=growth user=nobody");
}

TEST(Metadata, Signed_BeatsUnsigned_WhichBeatsTheKey) {
  EXPECT_EQ(Shown(Read({{"x-weir-metadata",
                         SignMetadata(R"({"exp":1800000060,"user":"signed"})", kSecret)},
                        {"x-weir-customer-tier", "unsigned"},
                        {"x-weir-action-id", "a"},
                        {"x-weir-user", "unsigned"}})),
            "team=growth user=signed customer_tier=unsigned action=a");
}

// What the guide's examples make, too: test/policies/signing_test.py.
TEST(Metadata, TheGoldenSignature_IsOursAndIsTaken) {
  std::ifstream in(WEIR_SOURCE_DIR "/test/golden/request_metadata/signed.txt");
  std::string secret, json, header;
  std::getline(in, secret);
  std::getline(in, json);
  std::getline(in, header);
  ASSERT_FALSE(header.empty());
  EXPECT_EQ(SignMetadata(json, Secret(secret)), header);
  EXPECT_EQ(Shown(Read({{"x-weir-metadata", header}}, Secret(secret))),
            "team=growth user=alice customer_tier=gold");
}

TEST(Metadata, SignedMembers_AreCheckedLikeAnyInput) {
  struct Case {
    std::string json;
    std::string_view said;
  };
  for (const auto& [json, said] : std::initializer_list<Case>{
           {R"({"user":"a"})", "exp is missing"},
           {R"({"exp":"1800000060"})", "exp must be unix seconds"},
           {R"({"exp":-1})", "exp must be unix seconds"},
           {R"({"exp":9223372036854775807})", "exp must be unix seconds"},
           {R"({"exp":1800000060.5})", "neither a string nor a whole number"},
           {R"({"exp":0})", "has expired"},
           {R"({"exp":1800000000})", "has expired"},
           {R"({"exp":1800086401})", "at most 24 hours ahead"},
           {R"({"exp":9223372036})", "at most 24 hours ahead"},
           {R"({"exp":1800000060,"exp":1800000060})", "has a member twice"},
           {R"({"exp":1800000060,"key":"other"})", "signed for another API key"},
           {R"({"exp":1800000060,"key":""})", "signed for another API key"},
           {R"({"exp":1800000060,"key":1})", "must be a string"},
           {R"({"exp":1800000060,"user":1})", "must be a string"},
           {R"({"exp":1800000060,"user":""})", "The signed user must not be empty"},
           {R"({"exp":1800000060,"user":" x"})", "must not begin or end with a blank"},
           {R"({"exp":1800000060,"user":"caf\u00e9"})", "must consist of printable ASCII"},
           {R"({"exp":1800000060,"user":"a\n"})", "must consist of printable ASCII"},
           {R"({"exp":1800000060,"workspace":"acme"})", "none that a request can have"},
           {R"({"exp":1800000060,"model":"gpt-5.5"})", "none that a request can have"},
           {R"({"exp":1800000060,"sub":"x"})", "none that a request can have"},
           {R"({"exp":1800000060,"User":"x"})", "none that a request can have"},
           {R"({"exp":1800000060,"user":{"a":1}})", "neither a string nor a whole number"},
           {R"([])", "is not one JSON object"},
           {R"({"exp":1800000060}x)", "is not one JSON object"},
           {"", "is not one JSON object"},
       }) {
    EXPECT_THAT(Signed(json), HasSubstr(said)) << json;
    EXPECT_THAT(Signed(json), HasSubstr("x-weir-metadata: "));
  }
  EXPECT_EQ(Signed(R"({"exp":1800086400,"user":"a"})"), "team=growth user=a");
  EXPECT_EQ(Signed(R"({"exp":1800000001,"user":"a"})"), "team=growth user=a");
}

TEST(Metadata, AnyChangeOfASignedText_IsRefused) {
  const std::string right = SignMetadata(R"({"exp":1800000060,"user":"alice"})", kSecret);
  ASSERT_EQ(Shown(Read({{"x-weir-metadata", right}})), "team=growth user=alice");
  for (std::size_t i = 0; i < right.size(); ++i) {
    for (const char c : std::string_view("AZaz09-_.=+/ \x80")) {
      if (right[i] == c) continue;
      std::string wrong = right;
      wrong[i] = c;
      EXPECT_FALSE(Read({{"x-weir-metadata", wrong}})) << i << c;
    }
    EXPECT_FALSE(Read({{"x-weir-metadata", right.substr(0, i)}}));
  }
  for (const std::string& wrong : {right + "=", right + "A", right + ".", "." + right,
                                   right.substr(0, right.find('.') + 1), std::string(".")}) {
    EXPECT_FALSE(Read({{"x-weir-metadata", wrong}})) << wrong;
  }
  EXPECT_THAT(Shown(Read({{"x-weir-metadata", right}}, Secret("another secret"))),
              HasSubstr("The signature is not that of the body"));
}

// The last character of a base64url text has bits to spare; only one of its forms is taken.
TEST(Metadata, ASignature_HasOneForm) {
  const std::string right = SignMetadata(R"({"exp":1800000060})", kSecret);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  int taken = 0;
  for (const char c : kAlphabet) {
    std::string other = right;
    other.back() = c;
    if (Read({{"x-weir-metadata", other}})) ++taken;
  }
  EXPECT_EQ(taken, 1);
}

TEST(Metadata, WithoutASecret_NothingSignedIsTaken) {
  const std::string text = SignMetadata(R"({"exp":1800000060,"user":"a"})", Secret(""));
  EXPECT_EQ(Shown(Read({{"x-weir-metadata", text}}, Secret())),
            "x-weir-metadata: Signed metadata is not taken here: metadata_secret is not set in the "
            "configuration");
  EXPECT_EQ(Shown(Read({{"x-weir-user", "alice"}}, Secret())), "team=growth user=alice");
}

TEST(Metadata, ASignedBody_IsBounded) {
  const auto of_size = [](std::size_t size) {
    std::string json = R"({"exp":1800000060,"user":"a"})";
    json.insert(1, std::string(size - json.size(), ' '));
    return json;
  };
  EXPECT_EQ(Signed(of_size(kSignedMetadataMax)), "team=growth user=a");
  EXPECT_THAT(Signed(of_size(kSignedMetadataMax + 1)), HasSubstr("of at most 4096 bytes"));
  EXPECT_THAT(Signed(of_size(100'000)), HasSubstr("of at most 4096 bytes"));
}

TEST(Metadata, NoFault_RepeatsWhatWasSigned) {
  for (const std::string_view json :
       {R"({"exp":1800000060,"user":"canary ","key":"canary"})", R"({"exp":17,"user":"canary"})",
        R"({"canary":"canary","exp":1800000060})"}) {
    EXPECT_THAT(Signed(json), Not(HasSubstr("canary")));
  }
}

// Every input that the fuzzer keeps, cut anywhere and with single bytes changed.
TEST(Metadata, TheCorpus_BreaksNoProperty) {
  int files = 0;
  const auto folder = std::filesystem::path(WEIR_SOURCE_DIR) / "fuzz/corpus/request_metadata";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    for (std::size_t cut = 0; cut <= input.size(); ++cut) {
      fuzz::MetadataEntry(std::string_view(input).substr(0, cut));
    }
    for (std::size_t at = 0; at < input.size(); ++at) {
      for (const char c : {'\0', '"', '}', '9', '\\', ':', '\n'}) {
        std::string changed = input;
        changed[at] = c;
        fuzz::MetadataEntry(changed);
      }
    }
    ++files;
  }
  EXPECT_GE(files, 8);
}

}  // namespace
}  // namespace weir::identity
