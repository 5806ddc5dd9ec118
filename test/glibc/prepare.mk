# SPDX-License-Identifier: MIT
# Read after the Makefile of one of glibc's directories.

# All that its tests are made of, without running any.
.PHONY: ukl-prepare
ukl-prepare: $(addprefix $(objpfx), \
	       $(filter-out $(tests-unsupported),$(binaries-all-tests)) \
	       $(binaries-mcheck-tests) $(binaries-malloc-check-tests) \
	       $(binaries-malloc-hugetlb1-tests) $(binaries-malloc-hugetlb2-tests)) \
	     $(test-modules) $(gen-locales)

# The names of those that bring no ld.so along.
.PHONY: ukl-static
ukl-static:
	@echo $(sort $(filter $(binaries-static-tests),$(tests) $(tests-internal)))
