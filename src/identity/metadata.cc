#include "identity/metadata.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "config/attribute.h"
#include "identity/api_key.h"
#include "identity/flat_json.h"

namespace weir::identity {
namespace {

using config::Dimension;

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kActionName = "action-id";
constexpr std::string_view kSignedName = "metadata";
constexpr std::size_t kBodyCharsMax = (kSignedMetadataMax * 4 + 2) / 3;
constexpr std::size_t kSignatureChars = 43;
// Beyond it, seconds times 10^9 leave 64 bits.
constexpr std::int64_t kSecondsMax = INT64_MAX / 1'000'000'000;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsSameName(std::string_view sent, std::string_view lower) {
  return std::ranges::equal(sent, lower, [](char a, char b) { return Lower(a) == b; });
}

// As IsSameName, for the name of a dimension: proxies write its '_' as '-', and either means it.
bool NamesDimension(std::string_view sent, std::string_view dimension) {
  return std::ranges::equal(sent, dimension,
                            [](char a, char b) { return Lower(a) == b || (b == '_' && a == '-'); });
}

std::string Encode(std::span<const std::uint8_t> bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(bytes.size() - i, 3);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j <= left; ++j) out += kAlphabet[group >> (18 - 6 * j) & 63U];
  }
  return out;
}

// None unless it is what Encode makes of the result.
std::optional<std::string> Decode(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out += static_cast<char>(group >> bits & 0xFF);
  }
  const bool is_whole = bits < 6 && (group & ((1U << bits) - 1)) == 0;
  return is_whole ? std::optional(std::move(out)) : std::nullopt;
}

std::string SignatureOf(std::string_view body, const Secret& secret) {
  return Encode(Pepper(secret.Reveal()).Digest(body).bytes);
}

bool IsSignature(std::string_view text, std::string_view body, const Secret& secret) {
  KeyDigest given;
  const auto bytes = text.size() == kSignatureChars ? Decode(text) : std::nullopt;
  if (!bytes || bytes->size() != given.bytes.size()) return false;
  std::ranges::transform(*bytes, given.bytes.begin(),
                         [](char c) { return static_cast<std::uint8_t>(c); });
  return EqualsInConstantTime(given, Pepper(secret.Reveal()).Digest(body));
}

// What is wrong with the signed members, or empty; right ones are set.
std::string ReadSigned(std::string_view text, const KeyRecord& key, const Secret& secret,
                       Instant now, std::vector<config::Attribute>& attributes) {
  if (secret.empty()) {
    return "Signed metadata is not taken here: metadata_secret is not set in the configuration";
  }
  const std::size_t dot = text.find('.');
  if (dot > kBodyCharsMax) {  // npos is larger, too
    return "It must be BODY.SIGNATURE, both base64url without padding, the body of at most 4096 "
           "bytes";
  }
  const std::string_view body = text.substr(0, dot);
  if (!IsSignature(text.substr(dot + 1), body, secret)) {
    return "The signature is not that of the body; sign the base64url text with "
           "HMAC-SHA-256 under metadata_secret";
  }
  const auto json = Decode(body);
  if (!json || json->size() > kSignedMetadataMax) {
    return "The body must be base64url without padding, of at most 4096 bytes";
  }
  const auto members = ReadFlatJson(*json);
  if (!members) return "The signed body " + std::string(members.error());
  bool has_exp = false;
  for (const FlatMember& member : *members) {
    if (member.name == "exp") {
      const std::int64_t seconds = member.number.value_or(-1);
      if (seconds < 0 || seconds > kSecondsMax) return "exp must be unix seconds, a whole number";
      const Instant until{seconds * 1'000'000'000};
      if (until <= now) return "The signature has expired; sign anew with a later exp";
      if (until - now > kSignedMetadataAge) return "exp must be at most 24 hours ahead";
      has_exp = true;
      continue;
    }
    if (member.number) return "Every signed member but exp must be a string";
    if (member.name == "key") {
      if (member.text != key.name) return "It was signed for another API key";
      continue;
    }
    const auto dimension = config::DimensionOf(member.name);
    if (!dimension || (config::BitOf(*dimension) & config::kAttributeBits) == 0) {
      return "A signed member is none that a request can have; known are exp, key, team, user, "
             "customer, customer_tier, workflow, feature, environment, campaign, image_class";
    }
    if (const auto fault = config::AttributeFault(member.text); !fault.empty()) {
      return "The signed " + member.name + " " + std::string(fault);
    }
    config::SetAttribute(attributes, *dimension, member.text);
  }
  if (!has_exp) return "exp is missing: unix seconds, at most 24 hours ahead";
  return {};
}

std::string_view ActionFault(std::string_view id) {
  if (id.empty()) return "must not be empty";
  if (id.size() > kActionIdMax) return "must have at most 128 bytes";
  if (!std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7F; })) {
    return "must consist of printable ASCII without blanks";
  }
  return {};
}

}  // namespace

void MetadataHeaders::TakeLonger(std::string_view name, std::string_view value) {
  if (!IsSameName(name.substr(0, prefix_.size()), prefix_)) return;
  const std::string_view rest = name.substr(prefix_.size() + 1);
  std::size_t which = said_.size();
  if (IsSameName(rest, kActionName)) {
    which = kAction;
  } else if (IsSameName(rest, kSignedName)) {
    which = kSigned;
  } else {
    for (std::size_t i = 0; i < config::kDimensions; ++i) {
      if (NamesDimension(rest, config::kDimensionNames[i])) which = i;
    }
  }
  if (which == said_.size()) return;
  Said& said = said_[which];
  if (said.is_there) doubled_ = std::min(doubled_, which);
  said = {.value = value, .is_there = true};
  any_ = true;
}

std::string MetadataHeaders::HeaderOf(std::size_t which) const {
  std::string header = std::string(prefix_) + "-";
  if (which == kAction) {
    header += kActionName;
  } else if (which == kSigned) {
    header += kSignedName;
  } else {
    header += config::kDimensionNames[which];
    std::ranges::replace(header, '_', '-');
  }
  return header;
}

std::expected<RequestMetadata, MetadataFault> MetadataHeaders::Read(const KeyRecord& key,
                                                                    const Secret& secret,
                                                                    Instant now) const {
  RequestMetadata metadata{.attributes = key.attributes, .action = {}};
  if (!any_) return metadata;
  const auto fault = [&](std::size_t which, std::string message) {
    return std::unexpected(MetadataFault{.header = HeaderOf(which), .message = std::move(message)});
  };
  if (doubled_ < said_.size()) {
    return fault(doubled_, "The header is there twice; send it once");
  }
  for (std::size_t i = 0; i < config::kDimensions; ++i) {
    if (!said_[i].is_there) continue;
    const auto dimension = static_cast<Dimension>(i);
    const std::string name(config::kDimensionNames[i]);
    if ((config::BitOf(dimension) & config::kAttributeBits) == 0) {
      return fault(i, "A request cannot say its " + name +
                          ": the gateway knows it itself; leave the header out");
    }
    if ((config::BitOf(dimension) & key.metadata) == 0) {
      std::string message = "Requests of this API key may not say their ";
      message.append(name).append("; leave the header out, sign it (").append(HeaderOf(kSigned));
      message.append("), or have ").append(name).append(" added to the metadata of the key");
      return fault(i, std::move(message));
    }
    if (const auto wrong = config::AttributeFault(said_[i].value); !wrong.empty()) {
      return fault(i, "The " + name + " of a request " + std::string(wrong));
    }
    config::SetAttribute(metadata.attributes, dimension, said_[i].value);
  }
  if (said_[kAction].is_there) {
    const auto wrong = ActionFault(said_[kAction].value);
    if (!wrong.empty()) return fault(kAction, "The id of an action " + std::string(wrong));
    metadata.action = said_[kAction].value;
  }
  if (said_[kSigned].is_there) {
    auto wrong = ReadSigned(said_[kSigned].value, key, secret, now, metadata.attributes);
    if (!wrong.empty()) return fault(kSigned, std::move(wrong));
  }
  return metadata;
}

std::string SignMetadata(std::string_view json, const Secret& secret) {
  const std::string body =
      Encode({reinterpret_cast<const std::uint8_t*>(json.data()), json.size()});
  return body + "." + SignatureOf(body, secret);
}

}  // namespace weir::identity
