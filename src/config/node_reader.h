// Nodes of YAML into the objects that the table of options describes: what every part of the parser
// reads with. It knows how a value is written and what is wrong with one; which values go together
// is for those who read whole objects (parse.cc, parse_policy.cc). Private to this folder.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/env_text.h"
#include "config/option_table.h"
#include "config/parse.h"
#include "config/yaml_tree.h"

namespace weir::config {

// What the objects of a list are called, to their places in it.
using Names = std::map<std::string, std::uint32_t, std::less<>>;
// And to the lines they are on.
using Lines = std::map<std::string, int, std::less<>>;

// Of price files, which are the same everywhere: a variable in one is an error.
inline const EnvLookup kNoVariables = [](std::string_view) { return std::optional<std::string>(); };
// Of what comes from elsewhere than the operator's files: texts are as they are, and a "${" in one
// is those two signs.
inline const EnvLookup kVerbatim;

// "models[2]" and "price": "models[2].price".
std::string Join(const std::string& path, std::string_view name);
// The node at `names` below `root`, or the last one there is on the way: where to point at.
const YamlNode& NodeAt(const YamlNode& root, std::initializer_list<std::string_view> names);
// How a value of the type is written: the second half of most fixes.
std::string_view HowToWrite(OptionType type);
// Why `text` does not have the form, or nothing.
std::string_view FaultOfForm(TextForm form, std::string_view text);
// "did you mean NEAR?", or `otherwise` when nothing is near.
std::string DidYouMean(std::string_view text, std::span<const std::string_view> known,
                       std::string otherwise);
// In the order of the file, then those of the files it names; line 0 is about the file as a whole,
// or the note that there are more.
void SortErrors(std::string_view file, std::vector<ConfigError>& errors);

class NodeReader {
 public:
  NodeReader(std::string_view file, const EnvLookup& env, const ZoneLookup& zones,
             std::vector<ConfigError>& errors)
      : file_(file), env_(env), zones_(zones), errors_(errors) {}

 protected:
  void Report(const YamlNode& at, std::string path, std::string message, std::string fix) {
    ReportAt(at.line, at.column, std::move(path), std::move(message), std::move(fix));
  }
  void ReportAt(int line, int column, std::string path, std::string message, std::string fix) {
    AddError(errors_, {file_, line, column, std::move(path), std::move(message), std::move(fix)});
  }
  // Whether `node` is of `kind`; reports it if not.
  bool Expect(const YamlNode& node, YamlKind kind, const std::string& path, std::string_view fix);

  std::optional<EnvText> ReadText(const YamlNode& node, const std::string& path,
                                  const Option& option);
  // A text within the option's bounds and form.
  std::optional<std::string> ReadFormedText(const YamlNode& node, const std::string& path,
                                            const Option& option);
  // Reads one value into the place the table names, by the type of that place; reports what is
  // wrong and leaves the place alone then.
  void Set(const YamlNode& node, const std::string& path, const Option& option,
           const ValueRef& place);

  // Reads the mapping `node` into `object`. `path` is where it stands in the file ("models[2]"),
  // `prefix` where in the table ("models[]."). `special` takes the entries the table cannot.
  //   returns  the table paths that were given
  template <class Object, class Special>
  std::vector<std::string_view> ReadObject(const YamlNode& node, const std::string& path,
                                           std::string prefix,
                                           std::span<const Field<Object>> fields, Object& object,
                                           const Special& special);
  template <class Object, class Special>
  void ReadEntries(const YamlNode& node, const std::string& path, const std::string& prefix,
                   std::span<const Field<Object>> fields, Object& object, const Special& special,
                   std::vector<std::string_view>& given);

  // Finds what the scalar `node`, an item of a list or a value of its own, names among `known`, or
  // reports that there is no `what` of that name.
  std::optional<std::uint32_t> FindName(const YamlNode& node, const std::string& path,
                                        const std::string& name, const Names& known,
                                        std::string_view what, std::string_view list);

  // Where the text `i` of `count` that were read from `list` stands: at the list when one of its
  // items was reported and left out.
  static const YamlNode& ItemAt(const YamlNode& list, std::size_t i, std::size_t count) {
    return count == list.items.size() ? list.items[i] : list;
  }

  // The items of a list of objects, if it is one and not too long.
  std::span<const YamlNode> Items(const YamlNode* list, const std::string& path,
                                  std::size_t count_max);
  // Reports a second object of one name.
  void CheckName(const YamlNode& node, const std::string& path, std::string_view key,
                 const std::string& name, Lines& lines);

  std::string file_;
  const EnvLookup& env_;
  const ZoneLookup& zones_;
  std::vector<ConfigError>& errors_;

 private:
  struct Setter;

  // The dimension `name` at a place of the file, if `option` allows it there.
  std::optional<Dimension> FindDimension(int line, int column, const std::string& path,
                                         std::string_view name, const Option& option);
  std::optional<std::string> ReadDimensionValue(const YamlNode& node, const std::string& path,
                                                Dimension dimension);
  // A zone that `text` was probably meant to be, or nothing.
  std::string NearZone(std::string_view text) const;
  void ReportUnknown(const YamlEntry& entry, const std::string& path, const std::string& table_path,
                     const std::string& prefix);
};

template <class Object, class Special>
std::vector<std::string_view> NodeReader::ReadObject(const YamlNode& node, const std::string& path,
                                                     std::string prefix,
                                                     std::span<const Field<Object>> fields,
                                                     Object& object, const Special& special) {
  std::vector<std::string_view> given;
  if (!Expect(node, YamlKind::kMap, path, "write NAME: VALUE lines below it")) return given;
  ReadEntries(node, path, prefix, fields, object, special, given);
  for (const Field<Object>& field : fields) {
    if (!field.option.required || std::ranges::find(given, field.option.path) != given.end()) {
      continue;
    }
    Report(node, Join(path, field.option.path.substr(prefix.size())), "is missing",
           "add it: " + std::string(field.option.help));
  }
  return given;
}

template <class Object, class Special>
void NodeReader::ReadEntries(const YamlNode& node, const std::string& path,
                             const std::string& prefix, std::span<const Field<Object>> fields,
                             Object& object, const Special& special,
                             std::vector<std::string_view>& given) {
  for (const YamlEntry& entry : node.entries) {
    if (errors_.size() > kConfigErrorsMax) return;  // no more would be kept
    const std::string table_path = prefix + entry.key;
    const std::string entry_path = Join(path, entry.key);
    // "limits.idle_deadline" as one key would find its option too, and could then be given twice.
    const bool one_name = entry.key.find_first_of(".[") == std::string::npos;
    const auto field = std::ranges::find_if(
        fields, [&](const auto& f) { return one_name && f.option.path == table_path; });
    if (field != fields.end()) given.push_back(field->option.path);
    if (special(table_path, entry.value, entry_path)) continue;
    if (field != fields.end()) {
      Set(entry.value, entry_path, field->option, field->at(object));
      continue;
    }
    // A mapping inside this one ("limits"): its options are in the same table. The table is three
    // deep, so this recursion is.
    const std::string inner_prefix = table_path + ".";
    if (std::ranges::any_of(
            fields, [&](const auto& f) { return f.option.path.starts_with(inner_prefix); })) {
      if (Expect(entry.value, YamlKind::kMap, entry_path, "write NAME: VALUE lines below it")) {
        ReadEntries(entry.value, entry_path, inner_prefix, fields, object, special, given);
      }
      continue;
    }
    ReportUnknown(entry, entry_path, table_path, prefix);
  }
}

}  // namespace weir::config
