#include "tests/torch/fake_device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/HPUHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace isobath::test {

namespace {

// A kind of device that this LibTorch has no backend for: nothing of it is in the way. (Modules cannot be moved to PrivateUse1.)
constexpr at::DeviceType type = at::kHPU;

std::mutex mutex;
Meetings meetings;
std::map<std::string, int64_t> operators;
thread_local bool in_fallback = false;  // whose copies are nobody's

void count(std::map<std::string, int64_t>& counts, std::string const& name) {
  std::lock_guard const lock(mutex);
  ++counts[name];
}

// Copies from page-locked memory that were asked for without waiting. They are done when somebody needs them done, as late as a GPU might.
std::vector<std::function<void()>> queued_copies;

void do_queued_copies() {
  for (auto const& copy : std::exchange(queued_copies, {})) copy();
}

// One device with one stream.
struct Guard : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return test::type; }
  at::Device exchangeDevice(at::Device) const override { return {test::type, 0}; }
  at::Device getDevice() const override { return {test::type, 0}; }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  at::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, c10::Stream const&, at::DeviceIndex, c10::EventFlag) const override { *event = event; }
  void block(void*, c10::Stream const&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override { do_queued_copies(); }
  void synchronizeDevice(at::DeviceIndex) const override { do_queued_copies(); }
};

struct Allocator : c10::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* const memory = std::malloc(std::max<size_t>(bytes, 1));
    return {memory, memory, &std::free, at::Device(test::type, 0)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, void const* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

// LibTorch looks for this name.
struct HPUHooks : at::HPUHooksInterface {
  explicit HPUHooks(at::HPUHooksArgs) {}
  bool hasHPU() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return 1; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
};
}  // namespace
}  // namespace isobath::test

namespace at {
using isobath::test::HPUHooks;
REGISTER_HPU_HOOKS(HPUHooks)
}  // namespace at

namespace isobath::test {
namespace {

// The same memory under the CPU's name.
at::Tensor as_host(at::Tensor const& x) {
  if (!x.defined() || x.device().type() != type) return x;
  return at::from_blob(x.unsafeGetTensorImpl()->storage().mutable_data(), {static_cast<int64_t>(x.storage().nbytes() / x.itemsize())},
                       at::TensorOptions().dtype(x.scalar_type()))
      .as_strided(x.sizes(), x.strides(), x.storage_offset());
}

at::Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>,
                 std::optional<bool>, std::optional<at::MemoryFormat> format) {
  c10::DispatchKeySet const keys(c10::DispatchKey::HPU);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), c10::GetAllocator(type), keys, dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  c10::DispatchKeySet const keys(c10::DispatchKey::HPU);
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), c10::GetAllocator(type), keys,
                                           dtype.value_or(at::kFloat));
}

at::Tensor copy_from(at::Tensor const& from, at::Tensor const& to, bool non_blocking) {
  if (!in_fallback && to.is_cpu()) count(meetings.reads, "copy to the host");
  if (!in_fallback && from.is_cpu()) {
    std::lock_guard const lock(mutex);
    ++meetings.copies_from_host;
  }
  if (!in_fallback && from.is_cpu() && non_blocking) {
    queued_copies.push_back([from, to] { as_host(to).copy_(from); });
    return to;
  }
  do_queued_copies();
  as_host(to).copy_(as_host(from));
  return to;
}

at::Tensor copy_from_and_resize(at::Tensor const& from, at::Tensor const& to) {
  at::native::resize_(to, from.sizes(), std::nullopt);
  return copy_from(from, to, false);
}

at::Scalar read_scalar(at::Tensor const& x) {
  count(meetings.reads, "aten::_local_scalar_dense");
  do_queued_copies();
  return as_host(x).item();
}

// Operators whose result's shape depends on values: a GPU makes the host wait for them.
bool reads_values(std::string const& name) {
  for (char const* one : {"aten::nonzero", "aten::masked_select", "aten::equal", "aten::unique", "aten::_unique", "aten::index"})
    if (name == one || name == std::string(one) + "2") return true;
  return false;
}

void run_on_host(c10::OperatorHandle const& op, torch::jit::Stack* stack) {
  std::string const name = op.schema().operator_name().name;
  auto const check = [&](at::Tensor const& x) {
    TORCH_CHECK(!x.defined() || x.device().type() == type || x.unsafeGetTensorImpl()->is_wrapped_number(), "[fake device] ", name,
                " got a tensor of shape ", x.sizes(), " on ", x.device());
  };
  for (auto const& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (argument.isTensor()) check(argument.toTensor());
    if (argument.isTensorList())
      for (at::Tensor const& x : argument.toTensorVector()) check(x);
    if (argument.isOptionalTensorList())
      for (auto const& x : argument.toOptionalTensorVector())
        if (x) check(*x);
  }
  auto const& full = op.schema().operator_name();
  count(operators, full.overload_name.empty() ? full.name : full.name + "." + full.overload_name);
  if (reads_values(name)) count(meetings.reads, name);
  do_queued_copies();
  in_fallback = true;
  at::native::cpu_fallback(op, stack, /*error_on_views=*/false);
  in_fallback = false;
}

C10_REGISTER_GUARD_IMPL(HPU, Guard)

bool const registered = (c10::SetAllocator(type, new Allocator), true);

}  // namespace

at::Device fake_device() { return {type, 0}; }

Meetings take_meetings() {
  std::lock_guard const lock(mutex);
  return std::exchange(meetings, {});
}

std::map<std::string, int64_t> take_operators() {
  std::lock_guard const lock(mutex);
  return std::exchange(operators, {});
}

TORCH_LIBRARY_IMPL(aten, HPU, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &read_scalar);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", [](at::Tensor const& x, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
    return at::native::_reshape_alias(x, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
  });
  m.impl("resize_", [](at::Tensor const& x, c10::SymIntArrayRef size, std::optional<at::MemoryFormat> format) -> at::Tensor const& {
    return at::native::resize_(x, C10_AS_INTARRAYREF_SLOW(size), format);
  });
  m.impl("unfold", &at::native::unfold);
}

TORCH_LIBRARY_IMPL(_, HPU, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>()); }

}  // namespace isobath::test
