// The configuration in force, option by option, from the same table that reads the file: an option
// cannot be forgotten here, and a secret is "***" because its type says so.

#include <fmt/format.h>

#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/token.h"
#include "config/option_table.h"

namespace weir::admin {

namespace {

// `path` with its list index: "upstreams[].name" and 2 -> "upstreams[2].name".
std::string WithIndex(std::string_view path, std::size_t index) {
  std::string out(path);
  const std::size_t at = out.find("[]");
  if (at != std::string::npos) out.replace(at, 2, fmt::format("[{}]", index));
  return out;
}

template <class Object>
void WriteFields(std::span<const config::Field<Object>> fields, Object& object, std::size_t index,
                 JsonWriter& json) {
  for (const config::Field<Object>& field : fields) {
    const config::ValueRef value = field.at(object);
    if (std::holds_alternative<std::monostate>(value)) continue;  // routes: see the models resource
    json.Open('{')
        .Text("path", WithIndex(field.option.path, index))
        .TextOrNull("value", config::FormatValue(field.option, value))
        .Flag("needs_restart", field.option.effect == config::Effect::kRestart)
        .Close('}');
  }
}

std::string OptionsJson(config::Config config) {  // a copy: the table hands out places to write to
  JsonWriter json;
  json.Open('[');
  WriteFields(config::ConfigFields(), config, 0, json);
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    WriteFields(config::UpstreamFields(), config.upstreams[i], i, json);
  }
  for (std::size_t i = 0; i < config.models.size(); ++i) {
    WriteFields(config::ModelFields(), config.models[i], i, json);
    if (config.models[i].price) {
      WriteFields(config::PriceFields(), *config.models[i].price, i, json);
    }
  }
  for (std::size_t i = 0; i < config.keys.size(); ++i) {
    WriteFields(config::KeyFields(), config.keys[i], i, json);
  }
  json.Close(']');
  return json.Take();
}

}  // namespace

std::string ConfigHash(const config::Config& config) {
  return HashToken(OptionsJson(config)).substr(0, 16);
}

AdminResponse GetConfig(const Call& call) {
  const std::string options = OptionsJson(*call.ports.config());
  return JsonResponse(
      fmt::format(R"({{"hash":"{}","options":{}}})", HashToken(options).substr(0, 16), options));
}

}  // namespace weir::admin
