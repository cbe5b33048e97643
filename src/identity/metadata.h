// What a request says of itself, so that policies can tell whose it is: its user, its workflow, its
// customer's tier. Only what is trusted counts: what its key may set, or what whoever has the
// metadata secret signed.
//
//   <prefix>-<dimension>: VALUE        where the key's metadata has the dimension; '-' for '_'
//   <prefix>-metadata: BODY.SIGNATURE  BODY = base64url of a JSON object,
//                                      SIGNATURE = base64url of HMAC-SHA-256(secret, BODY)
//   <prefix>-action-id: ID             which action of a user it is part of; any key may say so
//
// The JSON object has "exp" (unix seconds, at most a day ahead), may have "key" (the name of the
// key it is for) and has dimensions with their values. base64url is RFC 4648 section 5 without
// padding.
//
// Invariants:
//   1. What may not be said is refused by name, never left out: a policy must not be passed by
//      because its dimension did not arrive.
//   2. Signed beats unsigned beats the key's own attributes.
//   3. Nothing of a signed text is read before its signature is right.
//   4. No value and no signature is in a fault.
#pragma once

#include <array>
#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "config/policy.h"
#include "identity/key_record.h"

namespace weir::identity {

inline constexpr std::size_t kActionIdMax = 128;                    // visible ASCII
inline constexpr std::size_t kSignedMetadataMax = 4096;             // bytes of the JSON object
inline constexpr Duration kSignedMetadataAge = Seconds(24 * 3600);  // how far ahead "exp" may be

struct RequestMetadata {
  std::vector<config::Attribute> attributes;  // sorted by dimension
  std::string action;                         // empty: an action of its own
};

// Refusal::kMetadataRefused, and why.
struct MetadataFault {
  std::string header;   // in lower case
  std::string message;  // a sentence with what to do
};

// The headers of a request that say something of it.
class MetadataHeaders {
 public:
  explicit MetadataHeaders(std::string_view prefix) : prefix_(prefix) {}

  // Offers every header of a request, in any order.
  //   name  in any case; `name` and `value` outlive this
  //   cost  a comparison of the length and a few characters for what is none of ours
  void Take(std::string_view name, std::string_view value) {
    if (name.size() > prefix_.size() + 1 && name[prefix_.size()] == '-') TakeLonger(name, value);
  }

  std::expected<RequestMetadata, MetadataFault> Read(const KeyRecord& key, const Secret& secret,
                                                     Instant now) const;

 private:
  // What one header may say once.
  struct Said {
    std::string_view value;
    bool is_there = false;
  };
  static constexpr std::size_t kAction = config::kDimensions;
  static constexpr std::size_t kSigned = config::kDimensions + 1;

  void TakeLonger(std::string_view name, std::string_view value);
  std::string HeaderOf(std::size_t which) const;

  std::string_view prefix_;
  std::array<Said, config::kDimensions + 2> said_{};  // by dimension, then the two others
  bool any_ = false;
  std::size_t doubled_ = config::kDimensions + 2;  // the first that came twice
};

// What the request of `key` says of itself, on top of what the key says.
//   prefix   brand.header_prefix, in lower case
//   headers  a range of structs with `name` and `value`
//   secret   metadata_secret; empty: nothing signed is taken
template <class Headers>
std::expected<RequestMetadata, MetadataFault> ReadMetadata(const KeyRecord& key,
                                                           std::string_view prefix,
                                                           const Headers& headers,
                                                           const Secret& secret, Instant now) {
  MetadataHeaders found(prefix);
  for (const auto& header : headers) found.Take(header.name, header.value);
  return found.Read(key, secret, now);
}

// BODY.SIGNATURE of a JSON object, for tests and tools.
std::string SignMetadata(std::string_view json, const Secret& secret);

}  // namespace weir::identity
