module example.com/shop

go 1.26

require errand.internal v0.0.0

replace errand.internal => ../../../..
