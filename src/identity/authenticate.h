// Who is calling: from the headers of a request to the key behind it.
//
// A caller learns one of three things: no key was given, the key is no good, or it is good.
// Unknown, disabled, revoked, expired, replaced by a rotation and of another environment are one
// answer after the same work (one digest, one lookup, the same comparisons), because the difference
// would tell a guesser which keys exist.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "base/error_list.h"
#include "base/time.h"
#include "identity/api_key.h"
#include "identity/key_table.h"

namespace weir::identity {

// The parts of a request that may carry a key; empty where there is none.
struct PresentedHeaders {
  std::string_view x_api_key;
  std::string_view x_goog_api_key;
  std::string_view authorization;
  std::string_view api_key;
  std::string_view query;  // after '?', as sent
};

// The key a caller presents: the first of x-api-key, x-goog-api-key, Authorization ("Bearer" in any
// case, or the bare value), api-key and ?key= that is not empty. Blanks around it are dropped. An
// Authorization of another scheme ("Basic ...") is taken whole, and so is no good.
//   scratch  holds the decoded text when the query had percent escapes; must outlive the result
//   returns  empty when no key was given
std::string_view ExtractKey(const PresentedHeaders& headers, std::string& scratch);

// A caller who is known.
struct Principal {
  KeyRecordPtr key;                 // outlives any change of the table
  bool by_previous_secret = false;  // the one from before the last rotation
};

// What Authenticate decides once the digest is known. `length_ok` false refuses after the same
// work.
std::expected<Principal, Refusal> JudgeDigest(const KeyTable& table, const KeyDigest& digest,
                                              bool length_ok, std::string_view environment,
                                              Instant now);

//   digester     a Pepper; anything with Digest(text), so that a test can count
//   presented    from ExtractKey
//   environment  of this deployment; a key of another is no good here
//   now          for expiry and the overlap of a rotation
//   returns      the principal, or kMissingApiKey or kInvalidApiKey
//   cost         about one microsecond, no allocation; any thread
template <class Digester>
std::expected<Principal, Refusal> Authenticate(const KeyTable& table, const Digester& digester,
                                               std::string_view presented,
                                               std::string_view environment, Instant now) {
  if (presented.empty()) return std::unexpected(Refusal::kMissingApiKey);
  const KeyDigest digest = digester.Digest(presented.substr(0, kKeyLengthMax));
  return JudgeDigest(table, digest, presented.size() <= kKeyLengthMax, environment, now);
}

}  // namespace weir::identity
