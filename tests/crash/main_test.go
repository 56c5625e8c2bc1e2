package crash

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code, err := inShop(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func inShop(run func() int) (code int, err error) {
	if shop.dir, err = os.MkdirTemp("", "crash"); err != nil {
		return 1, err
	}
	defer func() {
		if e := os.RemoveAll(shop.dir); err == nil {
			err = e
		}
	}()
	return run(), nil
}
