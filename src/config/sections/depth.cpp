#include "config/sections/depth.h"

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

ConfigField kind_field() {
  std::vector<std::string> names;
  std::string doc;
  for (DepthKindOptions const& kind : depth_kind_options()) {
    names.push_back(kind.name);
    doc += (doc.empty() ? "" : "; ") + kind.name + ": " + kind.doc;
  }
  return Row<Config>(KEY(depth.kind), Kind::choice, ResumeClass::identity, (doc + ".").c_str()).one_of(names);
}

ConfigField mean_depth_field() {
  return Row<Config>(KEY(depth.mean_depth), Kind::real, ResumeClass::identity, "nested, scaled: layers a token goes through on average.")
      .above(0)
      .between(0, 4096)
      .zero_is("off");
}

}  // namespace

std::vector<ConfigField> depth_fields() {
  std::vector<ConfigField> fields{kind_field()};
  auto const add = [&](std::vector<ConfigField> const& more) { fields.insert(fields.end(), more.begin(), more.end()); };
  add(mod_fields());
  add(router_fields());
  add(nested_fields());
  fields.push_back(mean_depth_field());
  add(scaled_fields());
  return fields;
}

void check_depth(Config const& config, std::vector<Contradiction>& found) {
  DepthKindOptions const* const kind = find_depth_kind(config.depth.kind);
  if (kind != nullptr && kind->check != nullptr) kind->check(config, found);
}

}  // namespace isobath
