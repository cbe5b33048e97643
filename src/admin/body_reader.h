// Reads the JSON body of a request strictly: each member is taken once, by name, and a member that
// nobody took is an error. All errors are collected, so that a caller sees them at once.
//
// Strict, because leniency here costs money: a misspelled or doubled "budget_usd" that is quietly
// ignored is a key without a cap.
#pragma once

#include <boost/json.hpp>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/admin_api.h"
#include "admin/problem.h"
#include "base/money.h"
#include "base/time.h"
#include "config/options.h"

namespace weir::admin {

class ObjectReader {
 public:
  // `object` and `errors` outlive the reader. `pointer` is the place of the object in the body.
  ObjectReader(const boost::json::object& object, std::string pointer,
               std::vector<FieldError>& errors)
      : object_(object), pointer_(std::move(pointer)), errors_(errors) {}

  // Each returns true and sets `out` when the member is there and right; false when it is absent
  // or wrong, which is then in the errors. Bounds and forms are those of the option.
  bool Text(std::string_view name, std::string_view option_path, std::string& out);
  // null is an empty text.
  bool TextOrNull(std::string_view name, std::string_view option_path, std::string& out);
  bool Flag(std::string_view name, bool& out);
  bool Count(std::string_view name, std::int64_t min, std::int64_t max, std::int64_t& out);
  bool Choice(std::string_view name, std::span<const std::string_view> choices, std::string& out);
  // null is none. Amounts are decimal texts; a JSON number may have passed through a double.
  bool UsdOrNull(std::string_view name, std::optional<NanoUsd>& out);
  bool TimeOrNull(std::string_view name, std::optional<Instant>& out);
  // Entries have the form and bounds of the option. null is an empty list, if it is allowed.
  enum class Null { kRefused, kMeansAll };
  bool Texts(std::string_view name, std::string_view option_path, Null null,
             std::vector<std::string>& out);
  // A member that is an object; none when absent or not an object.
  std::optional<ObjectReader> Object(std::string_view name);

  // A member that is a list of at most `count_max` objects; none when absent or not one.
  std::optional<std::vector<ObjectReader>> Objects(std::string_view name, std::size_t count_max);
  // A member of any kind, or null when absent.
  const boost::json::value* Any(std::string_view name) { return Take(name); }

  bool Has(std::string_view name) const { return object_.contains(name); }
  void Refuse(std::string_view name, std::string detail);
  // Refuses the members nobody took. Call it last.
  void Finish();

 private:
  const boost::json::value* Take(std::string_view name);

  const boost::json::object& object_;
  std::string pointer_;
  std::vector<FieldError>& errors_;
  std::vector<std::string_view> known_;
};

// The body as one JSON object, or the response that refuses it: 415, 413, 400.
//   may_be_empty  no body at all is then {}
std::expected<boost::json::object, AdminResponse> ParseBody(const AdminRequest& request,
                                                            bool may_be_empty = false);

// The query as names and values, percent-decoded. Every name must be one of `known` and come once.
class QueryReader {
 public:
  QueryReader(std::string_view query, std::span<const std::string_view> known);
  // The value, or none when absent. An empty value counts as absent.
  std::optional<std::string> Text(std::string_view name) const;
  std::optional<std::int64_t> Count(std::string_view name, std::int64_t min, std::int64_t max);
  void Refuse(std::string_view name, std::string detail);
  const std::vector<FieldError>& errors() const { return errors_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<FieldError> errors_;
};

}  // namespace weir::admin
